// wasi:sockets/tcp: the options. WasmEdge sets and gets those of SOL_SOCKET only (lib/host/wasi/linux.h,
// toSockOptLevel): of the others the getters tell Linux's defaults (tcp(7), ip(7)), the setters that they are not
// supported, rather than let a program believe in a value that nobody keeps.
#include "errors.h"
#include "sockets.h"

#define SECOND 1000000000ull
enum { KEEP_ALIVE_IDLE_SECONDS = 7200, KEEP_ALIVE_INTERVAL_SECONDS = 75, KEEP_ALIVE_COUNT = 9, HOP_LIMIT = 64 };

static struct file *socket_of(u32 socket) { return get(socket, TCP_SOCKET)->file; }

EXPORT("wasi:sockets/tcp#[method]tcp-socket.is-listening") u32 tcp_is_listening(u32 socket)
{
    return socket_of(socket)->state == LISTENING;
}

EXPORT("wasi:sockets/tcp#[method]tcp-socket.address-family") u32 tcp_address_family(u32 socket)
{
    return socket_of(socket)->family;
}

// Kept until `listen`; a socket that listens already takes a new one by listening again.
EXPORT("wasi:sockets/tcp#[method]tcp-socket.set-listen-backlog-size")
void tcp_set_backlog(u32 socket, u64 size, u8 *result)
{
    struct file *file = socket_of(socket);
    if (size == 0 || file->state >= CONNECTING) {
        answer_error(result, 1, size ? INVALID_STATE : INVALID_ARGUMENT);
        return;
    }
    file->backlog = (u32)smaller(size, 0x7fffffff);
    answer_network(result, file->state == LISTENING ? p1_sock_listen(file->fd, file->backlog) : E_SUCCESS);
}

EXPORT("wasi:sockets/tcp#[method]tcp-socket.keep-alive-enabled") void tcp_keep_alive(u32 socket, u8 *result)
{
    u32 enabled, error = get_option(socket_of(socket), OPTION_KEEP_ALIVE, &enabled);
    if (error)
        answer_network(result, error);
    else
        answer_u8(result, enabled != 0);
}

EXPORT("wasi:sockets/tcp#[method]tcp-socket.set-keep-alive-enabled")
void tcp_set_keep_alive(u32 socket, u32 enabled, u8 *result)
{
    answer_network(result, set_option(socket_of(socket), OPTION_KEEP_ALIVE, enabled));
}

static void answer_unsupported(u32 socket, u64 value, u8 *result)
{
    socket_of(socket);
    answer_network(result, value ? E_NOTSUP : E_INVAL);
}

EXPORT("wasi:sockets/tcp#[method]tcp-socket.keep-alive-idle-time") void tcp_idle_time(u32 socket, u8 *result)
{
    socket_of(socket);
    answer_u64(result, KEEP_ALIVE_IDLE_SECONDS * SECOND);
}

EXPORT("wasi:sockets/tcp#[method]tcp-socket.set-keep-alive-idle-time")
void tcp_set_idle_time(u32 socket, u64 duration, u8 *result)
{
    answer_unsupported(socket, duration, result);
}

EXPORT("wasi:sockets/tcp#[method]tcp-socket.keep-alive-interval") void tcp_interval(u32 socket, u8 *result)
{
    socket_of(socket);
    answer_u64(result, KEEP_ALIVE_INTERVAL_SECONDS * SECOND);
}

EXPORT("wasi:sockets/tcp#[method]tcp-socket.set-keep-alive-interval")
void tcp_set_interval(u32 socket, u64 duration, u8 *result)
{
    answer_unsupported(socket, duration, result);
}

EXPORT("wasi:sockets/tcp#[method]tcp-socket.keep-alive-count") void tcp_keep_alive_count(u32 socket, u8 *result)
{
    socket_of(socket);
    answer_u32(result, KEEP_ALIVE_COUNT);
}

EXPORT("wasi:sockets/tcp#[method]tcp-socket.set-keep-alive-count")
void tcp_set_keep_alive_count(u32 socket, u32 count, u8 *result)
{
    answer_unsupported(socket, count, result);
}

EXPORT("wasi:sockets/tcp#[method]tcp-socket.hop-limit") void tcp_hop_limit(u32 socket, u8 *result)
{
    socket_of(socket);
    answer_u8(result, HOP_LIMIT);
}

EXPORT("wasi:sockets/tcp#[method]tcp-socket.set-hop-limit") void tcp_set_hop_limit(u32 socket, u32 hops, u8 *result)
{
    answer_unsupported(socket, hops, result);
}

EXPORT("wasi:sockets/tcp#[method]tcp-socket.receive-buffer-size") void tcp_receive_buffer(u32 socket, u8 *result)
{
    answer_buffer_size(socket_of(socket), OPTION_RECEIVE_BUFFER, result);
}

EXPORT("wasi:sockets/tcp#[method]tcp-socket.set-receive-buffer-size")
void tcp_set_receive_buffer(u32 socket, u64 size, u8 *result)
{
    answer_set_buffer_size(socket_of(socket), OPTION_RECEIVE_BUFFER, size, result);
}

EXPORT("wasi:sockets/tcp#[method]tcp-socket.send-buffer-size") void tcp_send_buffer(u32 socket, u8 *result)
{
    answer_buffer_size(socket_of(socket), OPTION_SEND_BUFFER, result);
}

EXPORT("wasi:sockets/tcp#[method]tcp-socket.set-send-buffer-size")
void tcp_set_send_buffer(u32 socket, u64 size, u8 *result)
{
    answer_set_buffer_size(socket_of(socket), OPTION_SEND_BUFFER, size, result);
}
