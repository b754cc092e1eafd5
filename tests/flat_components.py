"""A small component built like those of componentize-py: shared memory and table, libraries, a shim, an initialiser.

It stands for one of 20 MB where a test is about linking alone. The real ones are in `tests/component`.
"""

PROGRAM = """
(component
    (import "wasi:cli/environment@0.2.9" (instance $environment
        (export "get-arguments" (func (result (list string))))))
    (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock (export "now" (func (result u64)))))
    (import "wasi:io/poll@0.2.9" (instance $poll (export "pollable" (type (sub resource)))))
    (alias export $environment "get-arguments" (func $get-arguments))
    (alias export $clock "now" (func $now))
    (alias export $poll "pollable" (type $pollable))

    (core module $env
        (memory (export "memory") 2)
        (table (export "__indirect_function_table") 3 funcref)
        (global (export "__stack_pointer") (mut i32) (i32.const 65536))
        (global (export "base") i32 (i32.const 1024))
        (global (export "counter") (mut i32) (i32.const 1032)))
    (core module $shim
        (type $list (func (param i32)))
        (table $imports (export "$imports") 1 1 funcref)
        (func (export "0") (param i32) (call_indirect (type $list) (local.get 0) (i32.const 0))))
    (core module $libc
        (import "env" "memory" (memory 1))
        (global $free (mut i32) (i32.const 70000))
        (func (export "unused") (result i32) (i32.const 12345678))
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
            (global.set $free (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
            (global.get $free)
            (global.set $free (i32.add (global.get $free) (local.get 3)))))
    (core module $program
        (type $list (func (param i32)))
        (type $number (func (result i32)))
        (import "env" "memory" (memory 1))
        (import "env" "__indirect_function_table" (table 3 funcref))
        (import "env" "base" (global $base i32))
        (import "GOT.mem" "counter" (global $counter (mut i32)))
        (import "wasi:cli/environment@0.2.9" "get-arguments" (func $get-arguments (param i32)))
        (import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $now (result i64)))
        (import "wasi:io/poll@0.2.9" "[resource-drop]pollable" (func $drop (param i32)))
        (func (export "adapter-realloc") (param i32 i32 i32 i32) (result i32) unreachable)
        (func $seven (type $number) (i32.const 7))
        (func $other (type $number) (i32.const 8))
        (func $never (i32.const 3) (call $drop))
        (func (export "wasi:cli/run@0.2.9#run") (result i32)
            (block $failed
                (br_if $failed (i64.eqz (call $now)))
                (br_if $failed (i32.ne (i32.load (global.get $base)) (i32.const 0x64636261)))
                (br_if $failed (i32.ne (i32.load (global.get $counter)) (i32.const 0x74736574)))
                (br_if $failed (i32.ne (call_indirect (type $number) (i32.const 2)) (i32.const 7)))
                (call $get-arguments (i32.const 2048))
                (br_if $failed (i32.ne (i32.load (i32.const 2052)) (i32.const 2)))
                (br_if $failed (i32.lt_u (i32.load (i32.const 2048)) (i32.const 70000)))
                (return (i32.const 0)))
            (i32.const 1))
        (elem (i32.const 1) func $other $seven)
        (data (global.get $base) "abcd")
        (data (i32.const 1032) "test"))
    (core module $init
        (import "libpython3.14.so" "cabi_realloc" (func))
        (import "libcomponentize_py_runtime.so" "adapter-realloc" (func)))
    (core module $fixup
        (import "" "0" (func $get-arguments (param i32)))
        (import "" "$imports" (table 1 1 funcref))
        (elem (i32.const 0) func $get-arguments))

    (core instance $env (instantiate $env))
    (core instance $shim (instantiate $shim))
    (alias core export $env "memory" (core memory $memory))
    (alias core export $env "counter" (core global $counter))
    (alias core export $shim "0" (core func $shim-get-arguments))
    (core instance $libc (instantiate $libc (with "env" (instance $env))))
    (core func $now (canon lower (func $now)))
    (core func $drop (canon resource.drop $pollable))
    (core instance $got (export "counter" (global $counter)))
    (core instance $shimmed (export "get-arguments" (func $shim-get-arguments)))
    (core instance $clocks (export "now" (func $now)))
    (core instance $polls (export "[resource-drop]pollable" (func $drop)))
    (core instance $program (instantiate $program
        (with "env" (instance $env)) (with "GOT.mem" (instance $got))
        (with "wasi:cli/environment@0.2.9" (instance $shimmed))
        (with "wasi:clocks/monotonic-clock@0.2.0" (instance $clocks))
        (with "wasi:io/poll@0.2.9" (instance $polls))))
    (alias core export $libc "cabi_realloc" (core func $realloc))
    (core func $get-arguments (canon lower (func $get-arguments) (memory $memory) (realloc $realloc)))
    (alias core export $shim "$imports" (core table $imports))
    (core instance $fixed (export "$imports" (table $imports)) (export "0" (func $get-arguments)))
    (core instance (instantiate $fixup (with "" (instance $fixed))))
    (core instance (instantiate $init
        (with "libpython3.14.so" (instance $libc)) (with "libcomponentize_py_runtime.so" (instance $program))))

    (alias core export $program "wasi:cli/run@0.2.9#run" (core func $run))
    (func $run (result (result)) (canon lift (core func $run)))
    (component $typed (import "import-func-run" (func $f (result (result)))) (export "run" (func $f)))
    (instance $exported (instantiate $typed (with "import-func-run" (func $run))))
    (export "wasi:cli/run@0.2.9" (instance $exported)))
"""
"""A program that succeeds if it has exactly one argument after its name, and everything is linked to what it should."""

HOSTED = """
(component
    (import "skylark:state/bundles@0.1.0" (instance $bundles
        (export "delete" (func (param "key" string) (result (list string))))))
    (import "wasi:cli/environment@0.2.9" (instance $environment
        (export "get-arguments" (func (result (list string))))))
    (alias export $bundles "delete" (func $delete))
    (alias export $environment "get-arguments" (func $get-arguments))

    (core module $env
        (memory (export "memory") 2)
        (table (export "__indirect_function_table") 3 funcref)
        (global (export "counter") (mut i32) (i32.const 7)))
    (core module $libc
        (import "env" "memory" (memory 1))
        (global $free (mut i32) (i32.const 70000))
        (func (export "free") (param i32) (global.set $free (local.get 0)))
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
            (global.get $free)
            (global.set $free (i32.add (global.get $free) (local.get 3)))))
    (core module $program
        (import "env" "memory" (memory 1))
        (import "env" "__indirect_function_table" (table $table 3 funcref))
        (import "GOT.mem" "counter" (global $counter (mut i32)))
        (import "skylark:state/bundles@0.1.0" "delete" (func $delete (param i32 i32 i32)))
        (import "wasi:cli/environment@0.2.9" "get-arguments" (func $get-arguments (param i32)))
        (func $size (export "functions") (result i32) (memory.size))
        (func (export "functions-post") (param i32) (global.set $counter (local.get 0)))
        (func (export "handle") (param i32 i32) (result i32)
            (call $get-arguments (i32.const 2048))
            (if (i32.eq (local.get 1) (i32.const 99))
                (then (call $delete (local.get 0) (local.get 1) (i32.const 4096))))
            (memory.grow (local.get 0)))
        (func (export "handle-post") (param i32))
        (elem (table $table) (i32.const 1) func $size))
    (core module $init
        (import "libpython3.14.so" "cabi_realloc" (func))
        (import "libcomponentize_py_runtime.so" "handle" (func)))

    (core instance $env (instantiate $env))
    (alias core export $env "memory" (core memory $memory))
    (alias core export $env "counter" (core global $counter))
    (core instance $libc (instantiate $libc (with "env" (instance $env))))
    (alias core export $libc "cabi_realloc" (core func $realloc))
    (core func $delete (canon lower (func $delete) (memory $memory) (realloc $realloc)))
    (core func $get-arguments (canon lower (func $get-arguments) (memory $memory) (realloc $realloc)))
    (core instance $got (export "counter" (global $counter)))
    (core instance $own (export "delete" (func $delete)))
    (core instance $arguments (export "get-arguments" (func $get-arguments)))
    (core instance $program (instantiate $program
        (with "env" (instance $env)) (with "GOT.mem" (instance $got))
        (with "skylark:state/bundles@0.1.0" (instance $own))
        (with "wasi:cli/environment@0.2.9" (instance $arguments))))
    (core instance (instantiate $init
        (with "libpython3.14.so" (instance $libc)) (with "libcomponentize_py_runtime.so" (instance $program))))

    (alias core export $program "functions" (core func $functions))
    (alias core export $program "functions-post" (core func $functions-post))
    (alias core export $program "handle" (core func $handle))
    (alias core export $program "handle-post" (core func $handle-post))
    (func $functions (result (list string))
        (canon lift (core func $functions) (memory $memory) (post-return (core func $functions-post))))
    (func $handle (param "body" (list u8)) (result (list u8))
        (canon lift (core func $handle) (memory $memory) (realloc $realloc) (post-return (core func $handle-post))))
    (instance $exported (export "functions" (func $functions)) (export "handle" (func $handle)))
    (export "skylark:state/handler@0.1.0" (instance $exported)))
"""
"""A component of functions, with an import of its host's own, and one of WASI; its `handle` grows the memory."""
