// The end of the program, so that whoever started it learns whether it failed.
#include "ending.h"
#include "filesystem.h"
#include "preview1.h"
#include "sockets.h"

// crun takes any proc_exit for success: WasmEdge_ResultOK is true of it, and crun does not ask for the code (crun,
// src/libcrun/handlers/wasmedge.c). Only a trap makes it end with 1, which restarts a pod and shows in its state. So a
// program that fails in a container traps. Container runtimes are known by the one folder that they open, the root;
// elsewhere the exit code is passed on, without the runtime's lines about a trap.
void end_program(bool failed)
{
    flush_before_exit();
    if (failed && root_is_preopened())
        __builtin_trap();
    p1_proc_exit(failed);
}
