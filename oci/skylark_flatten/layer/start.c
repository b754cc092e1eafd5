// The program's entry: preview 1's "command" (`_start`) runs the component's `wasi:cli/run`.
#include "preview1.h"
#include "sockets.h"

// The lifted `run: func() -> result`: 0 is ok.
IMPORT("component", "run") u32 component_run(void);

EXPORT("_start") void start(void)
{
    u32 failed = component_run();
    flush_before_exit();
    p1_proc_exit(failed != 0);
}
