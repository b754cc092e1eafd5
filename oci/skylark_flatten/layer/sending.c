// Sending to a TCP socket without ever waiting.
//
// An output stream accepts up to LARGEST_TRANSFER bytes as long as nothing is pending. What the host does not take at
// once is kept, and check-write says 0 until it is gone. The bytes outlive their socket: a program that writes, drops
// the socket and goes on has sent them, as with a kernel's own buffer.
#include "errors.h"
#include "memory.h"
#include "poll.h"
#include "sockets.h"

#define SECOND 1000000000ull

// How long a dropped socket may go without taking a byte, and how long all of them may hold up the program's end.
enum { SECONDS_WITHOUT_PROGRESS = 60, SECONDS_AT_EXIT = 10 };

struct file *pending_files;

static void forget_pending(struct file *file)
{
    if (!file->pending)
        return;
    if (file->previous_pending)
        file->previous_pending->next_pending = file->next_pending;
    else
        pending_files = file->next_pending;
    if (file->next_pending)
        file->next_pending->previous_pending = file->previous_pending;
    give_back(file->pending, file->pending_size);
    file->pending = NULL;
}

static bool keep(struct file *file, const u8 *data, u32 size)
{
    u8 *block = take(size);
    if (!block)
        return false;
    memcpy(block, data, size);
    file->pending = block;
    file->pending_size = file->pending_to = size;
    file->pending_from = 0;
    file->previous_pending = NULL;
    file->next_pending = pending_files;
    if (pending_files)
        pending_files->previous_pending = file;
    pending_files = file;
    return true;
}

// Gives the host as many bytes as it takes; E_AGAIN when it takes no more now.
static u32 send(struct file *file, const u8 *data, u32 size, u32 *sent)
{
    u32 error = E_SUCCESS;
    *sent = 0;
    while (*sent < size && !error) {
        struct span span = {(void *)(data + *sent), size - *sent};
        u32 taken = 0;
        error = p1_sock_send(file->fd, &span, 1, 0, &taken);
        if (!error)
            *sent += taken;
        if (error == E_INTR)
            error = E_SUCCESS;
    }
    return error;
}

void flush_pending(struct file *file)
{
    if (!file->pending)
        return;
    u32 sent;
    u32 error = send(file, file->pending + file->pending_from, file->pending_to - file->pending_from, &sent);
    file->pending_from += sent;
    if (sent)
        file->give_up_at = now() + SECONDS_WITHOUT_PROGRESS * SECOND;
    if (error == E_AGAIN)
        return;
    file->write_error = error;
    forget_pending(file);
    if (file->shut_after_flush) {
        p1_sock_shutdown(file->fd, file->shut_after_flush);
        file->shut_after_flush = 0;
    }
}

// Why nothing can be sent any more. The other side has closed or reset the connection: the stream is closed, which
// wasi-libc makes EPIPE of (libc-bottom-half, wasip2_handle_write_error); any other error it would call EIO.
static u32 reason_to_refuse(const struct file *file)
{
    if (file->shut & SHUTDOWN_SEND || file->write_error == E_PIPE || file->write_error == E_CONNRESET)
        return END_OF_STREAM;
    return file->write_error;
}

u32 send_or_keep(struct file *file, const u8 *data, u32 size)
{
    flush_pending(file);
    u32 refusal = reason_to_refuse(file), sent = 0;
    if (refusal)
        return refusal;
    // More than check-write allows, if something is pending already.
    if (file->pending)
        return E_AGAIN;
    u32 error = send(file, data, size, &sent);
    if (error == E_AGAIN)
        return keep(file, data + sent, size - sent) ? E_SUCCESS : E_NOMEM;
    file->write_error = error;
    return reason_to_refuse(file);
}

// A direction that is shut down already is no error (tcp.wit, `shutdown`), nor is a connection that the other side has
// ended by then.
u32 shut_down(struct file *file, u32 directions)
{
    u32 open = directions & ~(u32)file->shut;
    file->shut |= (u8)directions;
    if (open & SHUTDOWN_SEND && file->pending) {
        file->shut_after_flush = SHUTDOWN_SEND;
        open &= ~(u32)SHUTDOWN_SEND;
    }
    if (!open)
        return E_SUCCESS;
    u32 error = p1_sock_shutdown(file->fd, open);
    return error == E_NOTCONN ? E_SUCCESS : error;
}

bool linger(struct file *file)
{
    flush_pending(file);
    if (!file->pending)
        return false;
    file->give_up_at = now() + SECONDS_WITHOUT_PROGRESS * SECOND;
    return true;
}

void file_close(struct file *file)
{
    forget_pending(file);
    p1_fd_close(file->fd);
    give_back(file, sizeof *file);
}

void flush_before_exit(void) { flush_until(now() + SECONDS_AT_EXIT * SECOND); }
