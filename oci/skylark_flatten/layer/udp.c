// wasi:sockets/udp.
#include "errors.h"
#include "memory.h"
#include "poll.h"
#include "sockets.h"

enum { HOP_LIMIT = 64, LARGEST_DATAGRAM = 65536, MOST_AT_ONCE = 16 };

static struct file *socket_of(u32 socket) { return get(socket, UDP_SOCKET)->file; }

EXPORT("wasi:sockets/udp#[method]udp-socket.start-bind")
void udp_start_bind(u32 socket, u32 network, ADDRESS_PARAMETERS, u8 *result)
{
    get(network, NETWORK);
    struct file *file = socket_of(socket);
    struct address address = address_of(family, (u32[])ADDRESS_ARGUMENTS);
    if (file->state != UNBOUND) {
        answer_error(result, 1, file->state == BINDING ? CONCURRENCY_CONFLICT : INVALID_STATE);
        return;
    }
    u32 error = check_local(file, &address);
    if (!error)
        error = p1_sock_bind(file->fd, &(struct span){address.bytes, bytes_of(&address)}, address.port);
    if (!error)
        file->state = BINDING;
    answer_network(result, error);
}

EXPORT("wasi:sockets/udp#[method]udp-socket.finish-bind") void udp_finish_bind(u32 socket, u8 *result)
{
    struct file *file = socket_of(socket);
    if (file->state != BINDING) {
        answer_error(result, 1, NOT_IN_PROGRESS);
        return;
    }
    file->state = BOUND;
    answer_ok(result);
}

// With an address the host's socket is connected to it, so it gets that peer's datagrams and errors only. To undo that
// takes a connect to AF_UNSPEC, a family that WasmEdge's sock_connect_v2 does not know.
static u32 associate(struct file *file, bool given, const struct address *address)
{
    if (!given)
        return file->remote.known ? E_NOTSUP : E_SUCCESS;
    u32 error = check_remote(file, address);
    if (!error)
        error = p1_sock_connect(file->fd, &(struct span){(void *)address->bytes, bytes_of(address)}, address->port);
    if (!error)
        file->remote = *address;
    return error == E_ADDRNOTAVAIL ? E_ADDRINUSE : error;
}

EXPORT("wasi:sockets/udp#[method]udp-socket.stream")
void udp_stream(u32 socket, u32 given, ADDRESS_PARAMETERS, u8 *result)
{
    struct file *file = socket_of(socket);
    struct address address = address_of(family, (u32[])ADDRESS_ARGUMENTS);
    if (file->state != BOUND) {
        answer_error(result, 4, INVALID_STATE);
        return;
    }
    u32 error = associate(file, given, &address);
    if (error) {
        answer_error(result, 4, network_error(error));
        return;
    }
    answer_ok(result);
    put32(result, 4, handle_new(INCOMING_DATAGRAMS, file, NULL));
    put32(result, 8, handle_new(OUTGOING_DATAGRAMS, file, NULL));
}

// ---- receiving

// One datagram: its bytes are in `passing` then. WasmEdge gives this port, and no other, in network order
// (INode::sockRecvFrom, lib/host/wasi/inode-linux.cpp).
static u32 receive(struct file *file, struct address *from, u32 *size)
{
    u8 storage[ADDRESS_STORAGE] __attribute__((aligned(4)));
    struct span to = {room(&passing, LARGEST_DATAGRAM), LARGEST_DATAGRAM}, address = {storage, sizeof storage};
    u16 port = 0, flags;
    u32 error;
    do
        error = p1_sock_recv_from(file->fd, &to, 1, &address, 0, &port, size, &flags);
    while (error == E_INTR);
    *from = address_in(storage, (u32)port << 8 | port >> 8);
    return error;
}

// `result<list<incoming-datagram>, error-code>`; a datagram is its data and, at 8, the address: 40 bytes.
EXPORT("wasi:sockets/udp#[method]incoming-datagram-stream.receive")
void udp_receive(u32 stream, u64 most, u8 *result)
{
    struct file *file = get(stream, INCOMING_DATAGRAMS)->file;
    struct address from;
    u8 *list = NULL;
    u32 count = 0, size, error = E_SUCCESS, room_for = (u32)smaller(most, MOST_AT_ONCE);
    while (count < room_for && !(error = receive(file, &from, &size))) {
        if (!list)
            list = component_memory(room_for * 40, 4);
        put_list(list, count * 40, component_copy(passing.data, size), size);
        put_address(list + count * 40 + 8, &from);
        count++;
    }
    if (error && error != E_AGAIN && !count) {
        answer_error(result, 4, network_error(error));
        return;
    }
    answer_ok(result);
    put_list(result, 4, list, count);
}

EXPORT("wasi:sockets/udp#[method]incoming-datagram-stream.subscribe") u32 incoming_subscribe(u32 stream)
{
    return pollable_for(get(stream, INCOMING_DATAGRAMS)->file, POLL_READ);
}

EXPORT("wasi:sockets/udp#[resource-drop]incoming-datagram-stream") void incoming_drop(u32 stream)
{
    handle_drop(stream, INCOMING_DATAGRAMS);
}

// ---- sending

EXPORT("wasi:sockets/udp#[method]outgoing-datagram-stream.check-send") void udp_check_send(u32 stream, u8 *result)
{
    struct file *file = get(stream, OUTGOING_DATAGRAMS)->file;
    if (file->full && is_ready(file, POLL_WRITE))
        file->full = false;
    answer_u64(result, file->full ? 0 : MOST_AT_ONCE);
}

// An `outgoing-datagram`: its data, and at 8 an optional address. A connected socket has one already.
static u32 send_datagram(struct file *file, const u8 *datagram)
{
    struct span from = {(void *)get32(datagram, 0), get32(datagram, 4)};
    u32 sent, error = datagram[8] || file->remote.known ? E_SUCCESS : E_INVAL;
    struct address address = {0};
    if (!error && datagram[8]) {
        address = address_at(datagram + 12);
        error = check_remote(file, &address);
    }
    if (error)
        return error;
    if (!datagram[8])
        return p1_sock_send(file->fd, &from, 1, 0, &sent);
    struct span to = {address.bytes, bytes_of(&address)};
    return p1_sock_send_to(file->fd, &from, 1, &to, address.port, 0, &sent);
}

EXPORT("wasi:sockets/udp#[method]outgoing-datagram-stream.send")
void udp_send(u32 stream, const u8 *datagrams, u32 count, u8 *result)
{
    enum { DATAGRAM_SIZE = 44 };
    struct file *file = get(stream, OUTGOING_DATAGRAMS)->file;
    u32 sent = 0, error = E_SUCCESS;
    while (sent < count && !(error = send_datagram(file, datagrams + DATAGRAM_SIZE * sent)))
        sent++;
    file->full = error == E_AGAIN;
    if (error && !file->full && !sent)
        answer_error(result, 8, network_error(error));
    else
        answer_u64(result, sent);
}

EXPORT("wasi:sockets/udp#[method]outgoing-datagram-stream.subscribe") u32 outgoing_subscribe(u32 stream)
{
    return pollable_for(get(stream, OUTGOING_DATAGRAMS)->file, POLL_WRITE);
}

EXPORT("wasi:sockets/udp#[resource-drop]outgoing-datagram-stream") void outgoing_drop(u32 stream)
{
    handle_drop(stream, OUTGOING_DATAGRAMS);
}

// ---- the rest

EXPORT("wasi:sockets/udp#[method]udp-socket.local-address") void udp_local_address(u32 socket, u8 *result)
{
    struct file *file = socket_of(socket);
    if (file->state != BOUND)
        answer_error(result, 4, INVALID_STATE);
    else
        answer_local_address(file, result);
}

EXPORT("wasi:sockets/udp#[method]udp-socket.remote-address") void udp_remote_address(u32 socket, u8 *result)
{
    struct file *file = socket_of(socket);
    if (!file->remote.known)
        answer_error(result, 4, INVALID_STATE);
    else
        answer_remote_address(file, result);
}

EXPORT("wasi:sockets/udp#[method]udp-socket.address-family") u32 udp_address_family(u32 socket)
{
    return socket_of(socket)->family;
}

EXPORT("wasi:sockets/udp#[method]udp-socket.unicast-hop-limit") void udp_hop_limit(u32 socket, u8 *result)
{
    socket_of(socket);
    answer_u8(result, HOP_LIMIT);
}

EXPORT("wasi:sockets/udp#[method]udp-socket.set-unicast-hop-limit")
void udp_set_hop_limit(u32 socket, u32 hops, u8 *result)
{
    socket_of(socket);
    answer_set_hop_limit(hops, result);
}

EXPORT("wasi:sockets/udp#[method]udp-socket.receive-buffer-size") void udp_receive_buffer(u32 socket, u8 *result)
{
    answer_buffer_size(socket_of(socket), OPTION_RECEIVE_BUFFER, result);
}

EXPORT("wasi:sockets/udp#[method]udp-socket.set-receive-buffer-size")
void udp_set_receive_buffer(u32 socket, u64 size, u8 *result)
{
    answer_set_buffer_size(socket_of(socket), OPTION_RECEIVE_BUFFER, size, result);
}

EXPORT("wasi:sockets/udp#[method]udp-socket.send-buffer-size") void udp_send_buffer(u32 socket, u8 *result)
{
    answer_buffer_size(socket_of(socket), OPTION_SEND_BUFFER, result);
}

EXPORT("wasi:sockets/udp#[method]udp-socket.set-send-buffer-size")
void udp_set_send_buffer(u32 socket, u64 size, u8 *result)
{
    answer_set_buffer_size(socket_of(socket), OPTION_SEND_BUFFER, size, result);
}

EXPORT("wasi:sockets/udp#[method]udp-socket.subscribe") u32 udp_subscribe(u32 socket)
{
    return pollable_for(socket_of(socket), POLL_SOCKET);
}

EXPORT("wasi:sockets/udp#[resource-drop]udp-socket") void udp_drop(u32 socket) { handle_drop(socket, UDP_SOCKET); }
