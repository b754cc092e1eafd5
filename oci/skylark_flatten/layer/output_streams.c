// wasi:io/streams: the output streams.
#include "errors.h"
#include "memory.h"
#include "poll.h"
#include "preview1.h"
#include "sockets.h"
#include "streams.h"

// Standard output may have been made non-blocking by who started the program.
static u32 write_in_turn(struct file *file, const struct span *from, u32 *count)
{
    for (;;) {
        u32 error = p1_fd_write(file->fd, from, 1, count);
        if (error != E_AGAIN && error != E_INTR)
            return error;
        file->full = error == E_AGAIN;
        wait_until_ready(file, POLL_WRITE);
        file->full = false;
    }
}

// Sets or clears O_APPEND; a host that cannot says so.
static u32 set_appending(struct file *file, bool appending)
{
    if (file->appending == appending)
        return E_SUCCESS;
    u32 error = p1_fd_fdstat_set_flags(file->fd, file->fdflags | (appending ? FDFLAG_APPEND : 0));
    if (!error)
        file->appending = appending;
    return error;
}

// With O_APPEND the host moves to the end and writes in one step, whoever else appends. Where it cannot be set the end
// is looked up first.
static u32 append(struct file *file, const u8 *from, u32 size, u32 *count)
{
    struct span span = {(void *)from, size};
    if (set_appending(file, true) == E_SUCCESS)
        return p1_fd_write(file->fd, &span, 1, count);
    struct filestat stat;
    u32 error = p1_fd_filestat_get(file->fd, &stat);
    return error ? error : p1_fd_pwrite(file->fd, &span, 1, stat.size, count);
}

// Linux appends what pwrite writes, wherever it should go, as long as O_APPEND is set (pwrite(2), "BUGS").
u32 file_pwrite(struct file *file, const u8 *from, u32 size, u64 position, u32 *count)
{
    struct span span = {(void *)from, size};
    u32 error = set_appending(file, false);
    return error ? error : p1_fd_pwrite(file->fd, &span, 1, position, count);
}

u32 file_pread(struct file *file, u8 *to, u32 size, u64 position, u32 *count)
{
    struct span span = {to, size};
    u32 error = p1_fd_pread(file->fd, &span, 1, position, count);
    if (error == E_SPIPE)
        file->without_position = true;
    return error;
}

static u32 write_some(struct handle *stream, const u8 *from, u32 size, u32 *count)
{
    struct file *file = stream->file;
    struct span span = {(void *)from, size};
    u32 error = E_SPIPE;
    if (file->kind == FILE_PATH && !file->without_position)
        error = stream->kind ? append(file, from, size, count)
                             : file_pwrite(file, from, size, stream->position, count);
    if (error != E_SPIPE)
        return error;
    file->without_position = true;
    return write_in_turn(file, &span, count);
}

u32 stream_write(struct handle *stream, const u8 *from, u32 size)
{
    if (stream->file->kind == FILE_TCP)
        return send_or_keep(stream->file, from, size);
    while (size) {
        u32 count = 0, error = write_some(stream, from, size, &count);
        if (error)
            return error == E_PIPE ? END_OF_STREAM : error;
        // A host that writes nothing and has no error for it would be asked for ever.
        if (count == 0)
            return E_IO;
        from += count;
        size -= count;
        stream->position += count;
    }
    return E_SUCCESS;
}

// How many bytes a write may have. Anything but a socket takes them always.
static u32 permitted(struct file *file, u32 *error)
{
    *error = E_SUCCESS;
    if (file->kind != FILE_TCP)
        return LARGEST_TRANSFER;
    *error = send_or_keep(file, NULL, 0);
    if (*error == E_AGAIN)
        *error = E_SUCCESS;
    return file->pending ? 0 : LARGEST_TRANSFER;
}

static void answer_stream(u8 *result, u32 error)
{
    if (error)
        answer_stream_error(result, 4, error);
    else
        answer_ok(result);
}

EXPORT("wasi:io/streams#[method]output-stream.check-write") void output_check_write(u32 stream, u8 *result)
{
    u32 error, count = permitted(get(stream, OUTPUT_STREAM)->file, &error);
    if (error)
        answer_stream_error(result, 8, error);
    else
        answer_u64(result, count);
}

EXPORT("wasi:io/streams#[method]output-stream.write")
void output_write(u32 stream, const u8 *from, u32 size, u8 *result)
{
    answer_stream(result, stream_write(get(stream, OUTPUT_STREAM), from, size));
}

static u32 flush(struct file *file)
{
    while (file->pending)
        wait_until_ready(file, POLL_WRITE);
    return file->kind == FILE_TCP ? send_or_keep(file, NULL, 0) : E_SUCCESS;
}

// Zeroes come from the layer's memory when `from` is NULL.
static u32 write_and_flush(struct handle *stream, const u8 *from, u64 size)
{
    u32 error = E_SUCCESS;
    for (u32 count; size && !error; size -= count) {
        count = (u32)smaller(size, LARGEST_TRANSFER);
        if (from) {
            error = stream_write(stream, from, count);
            from += count;
        } else {
            memset(room(&passing, LARGEST_TRANSFER), 0, count);
            error = stream_write(stream, passing.data, count);
        }
        if (!error)
            error = flush(stream->file);
    }
    return error;
}

EXPORT("wasi:io/streams#[method]output-stream.blocking-write-and-flush")
void output_blocking_write(u32 stream, const u8 *from, u32 size, u8 *result)
{
    struct handle *handle = get(stream, OUTPUT_STREAM);
    u32 error = flush(handle->file);
    answer_stream(result, error ? error : write_and_flush(handle, from, size));
}

EXPORT("wasi:io/streams#[method]output-stream.write-zeroes") void output_write_zeroes(u32 stream, u64 size, u8 *result)
{
    u32 count = (u32)smaller(size, LARGEST_TRANSFER);
    memset(room(&passing, LARGEST_TRANSFER), 0, count);
    answer_stream(result, stream_write(get(stream, OUTPUT_STREAM), passing.data, count));
}

EXPORT("wasi:io/streams#[method]output-stream.blocking-write-zeroes-and-flush")
void output_blocking_write_zeroes(u32 stream, u64 size, u8 *result)
{
    struct handle *handle = get(stream, OUTPUT_STREAM);
    u32 error = flush(handle->file);
    answer_stream(result, error ? error : write_and_flush(handle, NULL, size));
}

// Nothing but pending bytes is ever buffered, and those are on their way.
EXPORT("wasi:io/streams#[method]output-stream.flush") void output_flush(u32 stream, u8 *result)
{
    u32 error;
    permitted(get(stream, OUTPUT_STREAM)->file, &error);
    answer_stream(result, error);
}

EXPORT("wasi:io/streams#[method]output-stream.blocking-flush") void output_blocking_flush(u32 stream, u8 *result)
{
    answer_stream(result, flush(get(stream, OUTPUT_STREAM)->file));
}

static void splice(u32 stream, u32 source, u64 size, bool wait, u8 *result)
{
    struct handle *to = get(stream, OUTPUT_STREAM), *from = get(source, INPUT_STREAM);
    u32 error, count = 0;
    if (wait)
        wait_until_ready(to->file, POLL_WRITE);
    u32 most = (u32)smaller(size, permitted(to->file, &error));
    while (!error && most) {
        error = stream_read(from, room(&passing, LARGEST_TRANSFER), most, &count);
        if (error != E_AGAIN || !wait)
            break;
        error = E_SUCCESS;
        wait_until_ready(from->file, POLL_READ);
    }
    if (error == E_AGAIN)
        error = E_SUCCESS;
    if (!error && count)
        error = stream_write(to, passing.data, count);
    if (error)
        answer_stream_error(result, 8, error);
    else
        answer_u64(result, count);
}

EXPORT("wasi:io/streams#[method]output-stream.splice") void output_splice(u32 stream, u32 source, u64 size, u8 *result)
{
    splice(stream, source, size, false, result);
}

EXPORT("wasi:io/streams#[method]output-stream.blocking-splice")
void output_blocking_splice(u32 stream, u32 source, u64 size, u8 *result)
{
    splice(stream, source, size, true, result);
}

EXPORT("wasi:io/streams#[method]output-stream.subscribe") u32 output_subscribe(u32 stream)
{
    return pollable_for(get(stream, OUTPUT_STREAM)->file, POLL_WRITE);
}

EXPORT("wasi:io/streams#[resource-drop]output-stream") void output_drop(u32 stream)
{
    handle_drop(stream, OUTPUT_STREAM);
}
