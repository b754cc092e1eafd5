// wasi:io/streams for files, standard streams and TCP sockets.
#include "streams.h"
#include "errors.h"
#include "memory.h"
#include "poll.h"
#include "preview1.h"
#include "sockets.h"

static u32 receive(struct file *file, const struct span *to, u32 *count)
{
    u16 flags;
    if (file->ended || file->shut & SHUTDOWN_RECEIVE)
        return END_OF_STREAM;
    u32 error = p1_sock_recv(file->fd, to, 1, 0, count, &flags);
    if (!error && *count == 0)
        file->ended = true;
    return error == E_INTR ? E_AGAIN : error;
}

// Standard input, a pipe, a terminal: the read would block.
static u32 read_in_turn(struct file *file, const struct span *to, u32 *count)
{
    u32 error = is_ready(file, POLL_READ) ? p1_fd_read(file->fd, to, 1, count) : E_AGAIN;
    return error == E_INTR ? E_AGAIN : error;
}

u32 stream_read(struct handle *stream, u8 *to, u32 size, u32 *count)
{
    struct file *file = stream->file;
    struct span span = {to, size};
    u32 error = E_SPIPE;
    *count = 0;
    if (file->kind == FILE_TCP)
        error = receive(file, &span, count);
    else if (file->kind == FILE_PATH && !file->without_position)
        error = file_pread(file, to, size, stream->position, count);
    if (error == E_SPIPE)
        error = read_in_turn(file, &span, count);
    if (!error && *count == 0 && size)
        return END_OF_STREAM;
    stream->position += *count;
    return error;
}

// Reads to the layer's own memory first: how much comes is known afterwards, and nothing must be left of an empty list.
static u32 read_some(u32 stream, u64 wanted, bool wait, u32 *count)
{
    struct handle *handle = get(stream, INPUT_STREAM);
    u32 size = (u32)smaller(wanted, LARGEST_TRANSFER);
    u32 error;
    for (;;) {
        error = stream_read(handle, room(&passing, LARGEST_TRANSFER), size, count);
        if (error != E_AGAIN || !wait)
            return error == E_AGAIN ? E_SUCCESS : error;
        wait_until_ready(handle->file, POLL_READ);
    }
}

static void answer_read(u32 stream, u64 wanted, bool wait, u8 *result)
{
    u32 count, error = read_some(stream, wanted, wait, &count);
    if (error) {
        answer_stream_error(result, 4, error);
        return;
    }
    answer_ok(result);
    put_list(result, 4, component_copy(passing.data, count), count);
}

static void answer_skip(u32 stream, u64 wanted, bool wait, u8 *result)
{
    u32 count, error = read_some(stream, wanted, wait, &count);
    if (error)
        answer_stream_error(result, 8, error);
    else
        answer_u64(result, count);
}

EXPORT("wasi:io/streams#[method]input-stream.read") void input_read(u32 stream, u64 size, u8 *result)
{
    answer_read(stream, size, false, result);
}

EXPORT("wasi:io/streams#[method]input-stream.blocking-read") void input_blocking_read(u32 stream, u64 size, u8 *result)
{
    answer_read(stream, size, true, result);
}

EXPORT("wasi:io/streams#[method]input-stream.skip") void input_skip(u32 stream, u64 size, u8 *result)
{
    answer_skip(stream, size, false, result);
}

EXPORT("wasi:io/streams#[method]input-stream.blocking-skip") void input_blocking_skip(u32 stream, u64 size, u8 *result)
{
    answer_skip(stream, size, true, result);
}

EXPORT("wasi:io/streams#[method]input-stream.subscribe") u32 input_subscribe(u32 stream)
{
    return pollable_for(get(stream, INPUT_STREAM)->file, POLL_READ);
}

EXPORT("wasi:io/streams#[resource-drop]input-stream") void input_drop(u32 stream)
{
    handle_drop(stream, INPUT_STREAM);
}
