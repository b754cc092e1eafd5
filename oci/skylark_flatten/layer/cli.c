// wasi:cli: arguments, environment, standard streams, terminals and the end of the program.
#include "ending.h"
#include "handles.h"
#include "memory.h"
#include "preview1.h"
#include "rounds.h"
#include "streams.h"

static u32 length(const u8 *text)
{
    u32 size = 0;
    while (text[size])
        size++;
    return size;
}

EXPORT("wasi:cli/environment#get-arguments") void get_arguments(u8 *result)
{
    u32 count = 0, size = 0;
    p1_args_sizes_get(&count, &size);
    u8 **arguments = (u8 **)room(&passing, count * 4 + size);
    if (count)
        p1_args_get(arguments, (u8 *)(arguments + count));
    u8 *list = component_memory(count * 8, 4);
    for (u32 i = 0; i < count; i++) {
        u32 argument_size = length(arguments[i]);
        put_list(list, i * 8, component_copy(arguments[i], argument_size), argument_size);
    }
    put_list(result, 0, list, count);
}

// Preview 1 has "name=value"; a name cannot hold "=".
EXPORT("wasi:cli/environment#get-environment") void get_environment(u8 *result)
{
    u32 count = 0, size = 0;
    p1_environ_sizes_get(&count, &size);
    u8 **variables = (u8 **)room(&passing, count * 4 + size);
    if (count)
        p1_environ_get(variables, (u8 *)(variables + count));
    u8 *list = component_memory(count * 16, 4);
    for (u32 i = 0; i < count; i++) {
        const u8 *name = variables[i];
        u32 name_size = 0;
        while (name[name_size] && name[name_size] != '=')
            name_size++;
        const u8 *value = name + name_size + (name[name_size] == '=');
        u32 value_size = length(value);
        put_list(list, i * 16, component_copy(name, name_size), name_size);
        put_list(list, i * 16 + 8, component_copy(value, value_size), value_size);
    }
    put_list(result, 0, list, count);
}

// Preview 1 has no working directory.
EXPORT("wasi:cli/environment#initial-cwd") void initial_cwd(u8 *result) { put8(result, 0, 0); }

EXPORT("wasi:cli/exit#exit") void cli_exit(u32 failed)
{
    end_program(failed != 0);
}

// The three are shared by all the streams made for them, and stay open.
static struct file *standard[3];

static struct file *standard_file(u32 fd)
{
    if (!standard[fd]) {
        standard[fd] = file_new(fd, FILE_STDIO);
        if (!standard[fd])
            die("no memory left for the standard streams");
        standard[fd]->references++;
    }
    return standard[fd];
}

EXPORT("wasi:cli/stdin#get-stdin") u32 get_stdin(void) { return handle_new(INPUT_STREAM, standard_file(0), NULL); }
EXPORT("wasi:cli/stdout#get-stdout") u32 get_stdout(void) { return handle_new(OUTPUT_STREAM, standard_file(1), NULL); }
EXPORT("wasi:cli/stderr#get-stderr") u32 get_stderr(void) { return handle_new(OUTPUT_STREAM, standard_file(2), NULL); }

// `option<terminal-...>`. To preview 1 a terminal is a character device; what tells it from /dev/null is that one can
// wait for it. (Preview 1's own libc looks for the right to seek, which WasmEdge never gives to a standard stream:
// libc-bottom-half/sources/isatty.c.)
static void answer_terminal(u32 fd, enum handle_type type, u8 *result)
{
    struct fdstat stat;
    bool terminal = p1_fd_fdstat_get(fd, &stat) == E_SUCCESS && stat.filetype == FILETYPE_CHARACTER_DEVICE &&
                    waiting_is_possible(standard_file(fd), fd == 0 ? DIRECTION_READ : DIRECTION_WRITE);
    put8(result, 0, terminal);
    if (terminal)
        put32(result, 4, handle_new(type, NULL, NULL));
}

EXPORT("wasi:cli/terminal-stdin#get-terminal-stdin") void get_terminal_stdin(u8 *result)
{
    answer_terminal(0, TERMINAL_INPUT, result);
}

EXPORT("wasi:cli/terminal-stdout#get-terminal-stdout") void get_terminal_stdout(u8 *result)
{
    answer_terminal(1, TERMINAL_OUTPUT, result);
}

EXPORT("wasi:cli/terminal-stderr#get-terminal-stderr") void get_terminal_stderr(u8 *result)
{
    answer_terminal(2, TERMINAL_OUTPUT, result);
}

EXPORT("wasi:cli/terminal-input#[resource-drop]terminal-input") void terminal_input_drop(u32 terminal)
{
    handle_drop(terminal, TERMINAL_INPUT);
}

EXPORT("wasi:cli/terminal-output#[resource-drop]terminal-output") void terminal_output_drop(u32 terminal)
{
    handle_drop(terminal, TERMINAL_OUTPUT);
}
