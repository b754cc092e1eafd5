// The program's entry: preview 1's "command" (`_start`) runs the component's `wasi:cli/run`.
#include "ending.h"

// The lifted `run: func() -> result`: 0 is ok.
IMPORT("component", "run") u32 component_run(void);

EXPORT("_start") void start(void)
{
    end_program(component_run() != 0);
}
