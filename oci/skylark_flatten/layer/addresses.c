// Socket addresses between the WIT's `ip-socket-address` and WasmEdge's functions, and the options of both protocols.
#include "errors.h"
#include "memory.h"
#include "sockets.h"

// An IPv6 address is eight numbers of 16 bits in the WIT, and bytes in network order for the host.
struct address address_of(u32 family, const u32 *values)
{
    struct address address = {.family = (u8)family, .known = true, .port = (u16)values[0]};
    if (family == 0) {
        for (u32 i = 0; i < 4; i++)
            address.bytes[i] = (u8)values[1 + i];
        return address;
    }
    // values[1] is the flow label, which the host does not take.
    for (u32 i = 0; i < 8; i++) {
        address.bytes[2 * i] = (u8)(values[2 + i] >> 8);
        address.bytes[2 * i + 1] = (u8)values[2 + i];
    }
    address.scope = values[10];
    return address;
}

// The same out of memory: the variant's case, then at 4 the record.
struct address address_at(const u8 *record)
{
    u32 values[11] = {get16(record, 4)};
    if (record[0] == 0) {
        for (u32 i = 0; i < 4; i++)
            values[1 + i] = record[6 + i];
    } else {
        for (u32 i = 0; i < 8; i++)
            values[2 + i] = get16(record, 12 + 2 * i);
        values[10] = get32(record, 28);
    }
    return address_of(record[0], values);
}

// `ipv4-address` or `ipv6-address`.
void put_ip(u8 *record, u32 family, const u8 *bytes)
{
    if (family == 0)
        memcpy(record, bytes, 4);
    for (u32 i = 0; family && i < 8; i++)
        put16(record, 2 * i, (u32)bytes[2 * i] << 8 | bytes[2 * i + 1]);
}

void put_address(u8 *record, const struct address *address)
{
    put8(record, 0, address->family);
    put16(record, 4, address->port);
    put_ip(record + (address->family ? 12 : 6), address->family, address->bytes);
    if (address->family) {
        put32(record, 8, 0);
        put32(record, 28, address->scope);
    }
}

static bool all_zero(const u8 *bytes, u32 size)
{
    u8 any = 0;
    for (u32 i = 0; i < size; i++)
        any |= bytes[i];
    return any == 0;
}

// Multicast, broadcast, and IPv4 within IPv6 ("IPv4-mapped") are refused by tcp.wit and udp.wit.
static bool is_unicast(const struct address *address)
{
    const u8 *bytes = address->bytes;
    if (address->family == 0)
        return (bytes[0] & 0xf0) != 0xe0 && !(bytes[0] == 255 && bytes[1] == 255 && bytes[2] == 255 && bytes[3] == 255);
    return bytes[0] != 0xff && !(all_zero(bytes, 10) && bytes[10] == 0xff && bytes[11] == 0xff);
}

// The host has no argument for the scope, so link-local addresses cannot be used.
u32 check_local(const struct file *file, const struct address *address)
{
    if (address->family != file->family || !is_unicast(address))
        return E_INVAL;
    return address->scope ? E_NOTSUP : E_SUCCESS;
}

u32 check_remote(const struct file *file, const struct address *address)
{
    if (address->port == 0 || all_zero(address->bytes, sizeof address->bytes))
        return E_INVAL;
    return check_local(file, address);
}

struct address address_in(const u8 *storage, u32 port)
{
    struct address address = {.family = get16(storage, 0) == FAMILY_INET6, .known = true, .port = (u16)port};
    memcpy(address.bytes, storage + 2, sizeof address.bytes);
    return address;
}

// The port comes as a number of 32 bits in the order of the machine.
void answer_local_address(struct file *file, u8 *result)
{
    u8 storage[ADDRESS_STORAGE] __attribute__((aligned(4)));
    u32 port = 0, error = p1_sock_getlocaladdr(file->fd, &(struct span){storage, sizeof storage}, &port);
    if (error) {
        answer_error(result, 4, network_error(error));
        return;
    }
    struct address address = address_in(storage, port);
    answer_ok(result);
    put_address(result + 4, &address);
}

u32 learn_remote_address(struct file *file)
{
    u8 storage[ADDRESS_STORAGE] __attribute__((aligned(4)));
    u32 port = 0, error = p1_sock_getpeeraddr(file->fd, &(struct span){storage, sizeof storage}, &port);
    if (!error)
        file->remote = address_in(storage, port);
    return error;
}

void answer_remote_address(struct file *file, u8 *result)
{
    answer_ok(result);
    put_address(result + 4, &file->remote);
}

u32 get_option(struct file *file, u32 name, u32 *value)
{
    u32 size = sizeof *value;
    *value = 0;
    return p1_sock_getsockopt(file->fd, 0, name, value, &size);
}

u32 set_option(struct file *file, u32 name, u32 value)
{
    return p1_sock_setsockopt(file->fd, 0, name, &value, sizeof value);
}

// Linux doubles the size that is set for its own needs, and gives the double (socket(7), SO_RCVBUF).
void answer_buffer_size(struct file *file, u32 option, u8 *result)
{
    u32 size, error = get_option(file, option, &size);
    if (error)
        answer_error(result, 8, network_error(error));
    else
        answer_u64(result, size / 2);
}

void answer_set_buffer_size(struct file *file, u32 option, u64 size, u8 *result)
{
    answer_network(result, size ? set_option(file, option, (u32)smaller(size, 0x3fffffff)) : E_INVAL);
}

// The host sets no options of IP, nor of TCP: it knows one level, SOL_SOCKET.
void answer_set_hop_limit(u32 hops, u8 *result) { answer_network(result, hops ? E_NOTSUP : E_INVAL); }

void answer_new_socket(u32 family, u32 type, u8 *result)
{
    u32 fd, error = p1_sock_open(family ? FAMILY_INET6 : FAMILY_INET4, type, &fd);
    struct file *file = NULL;
    if (!error && !(file = file_new(fd, type == SOCKTYPE_STREAM ? FILE_TCP : FILE_UDP)))
        error = E_NOMEM;
    if (!error)
        error = p1_fd_fdstat_set_flags(fd, FDFLAG_NONBLOCK);
    if (error) {
        if (file)
            file_close(file);
        answer_error(result, 4, network_error(error));
        return;
    }
    file->family = (u8)family;
    answer_u32(result, handle_new(type == SOCKTYPE_STREAM ? TCP_SOCKET : UDP_SOCKET, file, NULL));
}

EXPORT("wasi:sockets/tcp-create-socket#create-tcp-socket") void create_tcp_socket(u32 family, u8 *result)
{
    answer_new_socket(family, SOCKTYPE_STREAM, result);
}

EXPORT("wasi:sockets/udp-create-socket#create-udp-socket") void create_udp_socket(u32 family, u8 *result)
{
    answer_new_socket(family, SOCKTYPE_DATAGRAM, result);
}

// There is one network, and every socket is on it.
EXPORT("wasi:sockets/instance-network#instance-network") u32 instance_network(void)
{
    return handle_new(NETWORK, NULL, NULL);
}

EXPORT("wasi:sockets/network#[resource-drop]network") void network_drop(u32 network) { handle_drop(network, NETWORK); }
