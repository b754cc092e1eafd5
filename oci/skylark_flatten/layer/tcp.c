// wasi:sockets/tcp: the life of a socket. Every operation is done when it starts; what `start-...` began is taken note
// of, and `finish-...` completes it.
#include "errors.h"
#include "memory.h"
#include "poll.h"
#include "sockets.h"

enum { BACKLOG = 128 };

static struct file *socket_of(u32 socket) { return get(socket, TCP_SOCKET)->file; }

static bool in_progress(const struct file *file)
{
    return file->state == BINDING || file->state == LISTEN_STARTED || file->state == CONNECTING;
}

// What is wrong with beginning something that only the states `one` and `other` allow: 0, or a case of `error-code`.
static u32 wrong_state(const struct file *file, u32 one, u32 other)
{
    if (file->state == one || file->state == other)
        return 0;
    return in_progress(file) ? CONCURRENCY_CONFLICT : INVALID_STATE;
}

static void answer_finish(u8 *result, struct file *file, u32 from, u32 to)
{
    if (file->state != from) {
        answer_error(result, 1, NOT_IN_PROGRESS);
        return;
    }
    file->state = (u8)to;
    answer_ok(result);
}

// SO_REUSEADDR as tcp.wit asks for it: a port is free again at once after its last socket.
EXPORT("wasi:sockets/tcp#[method]tcp-socket.start-bind")
void tcp_start_bind(u32 socket, u32 network, ADDRESS_PARAMETERS, u8 *result)
{
    get(network, NETWORK);
    struct file *file = socket_of(socket);
    struct address address = address_of(family, (u32[])ADDRESS_ARGUMENTS);
    u32 wrong = wrong_state(file, UNBOUND, UNBOUND);
    if (wrong) {
        answer_error(result, 1, wrong);
        return;
    }
    u32 error = check_local(file, &address);
    if (!error) {
        set_option(file, OPTION_REUSE_ADDRESS, 1);
        error = p1_sock_bind(file->fd, &(struct span){address.bytes, bytes_of(&address)}, address.port);
    }
    if (!error)
        file->state = BINDING;
    answer_network(result, error);
}

EXPORT("wasi:sockets/tcp#[method]tcp-socket.finish-bind") void tcp_finish_bind(u32 socket, u8 *result)
{
    answer_finish(result, socket_of(socket), BINDING, BOUND);
}

// Whatever the host says at once, the address aside, is the result that `finish-connect` gives: wasi-libc takes a
// socket whose `start-connect` failed for one that was never connected (libc-bottom-half/sources/tcp.c, tcp_connect).
EXPORT("wasi:sockets/tcp#[method]tcp-socket.start-connect")
void tcp_start_connect(u32 socket, u32 network, ADDRESS_PARAMETERS, u8 *result)
{
    get(network, NETWORK);
    struct file *file = socket_of(socket);
    struct address address = address_of(family, (u32[])ADDRESS_ARGUMENTS);
    u32 wrong = wrong_state(file, UNBOUND, BOUND);
    if (wrong) {
        answer_error(result, 1, wrong);
        return;
    }
    u32 error = check_remote(file, &address);
    if (!error) {
        struct span span = {address.bytes, bytes_of(&address)};
        file->connect_error = p1_sock_connect(file->fd, &span, address.port);
        file->connect_done = file->connect_error != E_INPROGRESS && file->connect_error != E_INTR;
        file->remote = address;
        file->state = CONNECTING;
    }
    answer_network(result, error);
}

// The connection's result is there when the host can write to the socket (tcp.wit, "Implementors note").
static void look_for_result(struct file *file)
{
    if (file->connect_done || !is_ready(file, POLL_SOCKET))
        return;
    u32 error = get_option(file, OPTION_ERROR, &file->connect_error);
    if (error)
        file->connect_error = error;
    file->connect_done = true;
}

// No port left for the implicit bind is another error than an address that is not this machine's, and no reason to wait
// (connect(2), EADDRNOTAVAIL and EAGAIN).
static u32 connect_error(const struct file *file)
{
    bool no_port = file->connect_error == E_ADDRNOTAVAIL || file->connect_error == E_AGAIN;
    return network_error(no_port ? E_ADDRINUSE : file->connect_error);
}

static void put_streams(u8 *result, u32 at, struct file *file)
{
    put32(result, at, handle_new(INPUT_STREAM, file, NULL));
    put32(result, at + 4, handle_new(OUTPUT_STREAM, file, NULL));
}

EXPORT("wasi:sockets/tcp#[method]tcp-socket.finish-connect") void tcp_finish_connect(u32 socket, u8 *result)
{
    struct file *file = socket_of(socket);
    if (file->state != CONNECTING) {
        answer_error(result, 4, NOT_IN_PROGRESS);
        return;
    }
    look_for_result(file);
    if (!file->connect_done) {
        answer_error(result, 4, WOULD_BLOCK);
        return;
    }
    if (file->connect_error) {
        file->state = CLOSED;
        answer_error(result, 4, connect_error(file));
        return;
    }
    file->state = CONNECTED;
    answer_ok(result);
    put_streams(result, 4, file);
}

EXPORT("wasi:sockets/tcp#[method]tcp-socket.start-listen") void tcp_start_listen(u32 socket, u8 *result)
{
    struct file *file = socket_of(socket);
    u32 wrong = wrong_state(file, BOUND, BOUND);
    if (wrong) {
        answer_error(result, 1, wrong);
        return;
    }
    u32 error = p1_sock_listen(file->fd, file->backlog ? file->backlog : BACKLOG);
    if (!error)
        file->state = LISTEN_STARTED;
    answer_network(result, error);
}

EXPORT("wasi:sockets/tcp#[method]tcp-socket.finish-listen") void tcp_finish_listen(u32 socket, u8 *result)
{
    answer_finish(result, socket_of(socket), LISTEN_STARTED, LISTENING);
}

static u32 accept(struct file *listener, struct file **accepted)
{
    u32 fd, error;
    do
        error = p1_sock_accept(listener->fd, FDFLAG_NONBLOCK, &fd);
    while (error == E_INTR);
    if (error)
        return error;
    *accepted = file_new(fd, FILE_TCP);
    if (!*accepted)
        return E_NOMEM;
    (*accepted)->family = listener->family;
    (*accepted)->state = CONNECTED;
    // The client has reset the connection already: to wasi-libc a socket without a remote address is a reason to abort
    // (libc-bottom-half/sources/tcp.c, tcp_accept4).
    if (learn_remote_address(*accepted) == E_SUCCESS)
        return E_SUCCESS;
    file_close(*accepted);
    return E_CONNABORTED;
}

EXPORT("wasi:sockets/tcp#[method]tcp-socket.accept") void tcp_accept(u32 socket, u8 *result)
{
    struct file *listener = socket_of(socket), *accepted;
    u32 error = 0, wrong = wrong_state(listener, LISTENING, LISTENING);
    if (!wrong)
        error = accept(listener, &accepted);
    if (wrong || error) {
        answer_error(result, 4, wrong ? INVALID_STATE : network_error(error));
        return;
    }
    answer_ok(result);
    put32(result, 4, handle_new(TCP_SOCKET, accepted, NULL));
    put_streams(result, 8, accepted);
}

EXPORT("wasi:sockets/tcp#[method]tcp-socket.local-address") void tcp_local_address(u32 socket, u8 *result)
{
    struct file *file = socket_of(socket);
    if (file->state == UNBOUND || file->state == BINDING)
        answer_error(result, 4, INVALID_STATE);
    else
        answer_local_address(file, result);
}

EXPORT("wasi:sockets/tcp#[method]tcp-socket.remote-address") void tcp_remote_address(u32 socket, u8 *result)
{
    struct file *file = socket_of(socket);
    if (file->state != CONNECTED)
        answer_error(result, 4, INVALID_STATE);
    else
        answer_remote_address(file, result);
}

EXPORT("wasi:sockets/tcp#[method]tcp-socket.shutdown") void tcp_shutdown(u32 socket, u32 type, u8 *result)
{
    static const u8 directions[] = {SHUTDOWN_RECEIVE, SHUTDOWN_SEND, SHUTDOWN_RECEIVE | SHUTDOWN_SEND};
    struct file *file = socket_of(socket);
    if (file->state != CONNECTED)
        answer_error(result, 1, INVALID_STATE);
    else
        answer_network(result, shut_down(file, directions[type]));
}

EXPORT("wasi:sockets/tcp#[method]tcp-socket.subscribe") u32 tcp_subscribe(u32 socket)
{
    return pollable_for(socket_of(socket), POLL_SOCKET);
}

EXPORT("wasi:sockets/tcp#[resource-drop]tcp-socket") void tcp_drop(u32 socket) { handle_drop(socket, TCP_SOCKET); }
