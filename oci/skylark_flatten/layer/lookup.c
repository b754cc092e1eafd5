// wasi:sockets/ip-name-lookup over WasmEdge's sock_getaddrinfo, which blocks until it has an answer. Each lookup keeps
// its own results.
#include "errors.h"
#include "memory.h"
#include "poll.h"
#include "sockets.h"

// wasi/api.hpp, __wasi_addrinfo_t and __wasi_sockaddr_t: a chain that the caller prepares and the host fills in. The
// data of an address is what follows the family in the machine's own sockaddr: for IPv4 the port and at 2 the address;
// for IPv6 the port, the flow label and at 6 the address (INode::getAddrinfo, lib/host/wasi/inode-linux.cpp).
struct socket_address {
    u8 family;
    u32 data_size;
    u8 *data;
};
struct address_info {
    u16 flags;
    u8 family, socktype;
    u32 protocol, address_size;
    struct socket_address *address;
    u8 *canonical_name;
    u32 canonical_name_size;
    struct address_info *next;
};
_Static_assert(sizeof(struct socket_address) == 12 && sizeof(struct address_info) == 28, "sizes of api.hpp");
enum { PROTOCOL_TCP = 1 };

struct place {
    struct address_info info;
    struct socket_address address;
    u8 data[32];
};

// What a lookup keeps of an answer.
struct found {
    u8 family;
    u8 bytes[16];
};

static struct scratch places;

static struct place *prepare(u32 count)
{
    struct place *chain = (struct place *)room(&places, count * (u32)sizeof *chain);
    memset(chain, 0, count * (u32)sizeof *chain);
    for (u32 i = 0; i < count; i++) {
        chain[i].info.address = &chain[i].address;
        chain[i].info.next = i + 1 < count ? &chain[i + 1].info : NULL;
        chain[i].address.data = chain[i].data;
        chain[i].address.data_size = sizeof chain[i].data;
    }
    return chain;
}

// The host fills as many places as there are: when all are taken there may be more.
static u32 look_up(const u8 *name, u32 size, u32 *count)
{
    const struct address_info hints = {.socktype = SOCKTYPE_STREAM, .protocol = PROTOCOL_TCP};
    for (u32 room_for = 16;; room_for *= 2) {
        void *first = prepare(room_for);
        *count = 0;
        u32 error = p1_sock_getaddrinfo(name, size, (const u8 *)"", 0, &hints, &first, room_for, count);
        if (error || *count < room_for)
            return error ? error : *count ? E_SUCCESS : E_AI_NONAME;
    }
}

// A name is ASCII here: the conversion by IDNA that the WIT speaks of is the caller's (Python's socket module does it).
static bool is_name(const u8 *name, u32 size)
{
    for (u32 i = 0; i < size; i++)
        if (name[i] <= ' ' || name[i] >= 127)
            return false;
    return size > 0;
}

static void keep(struct found *kept, const struct place *place)
{
    kept->family = place->info.family == FAMILY_INET6;
    memcpy(kept->bytes, place->data + (kept->family ? 6 : 2), 16);
}

EXPORT("wasi:sockets/ip-name-lookup#resolve-addresses")
void resolve_addresses(u32 network, const u8 *name, u32 size, u8 *result)
{
    get(network, NETWORK);
    u32 count = 0, error = is_name(name, size) ? look_up(name, size, &count) : E_INVAL;
    struct found *found = NULL;
    if (!error && !(found = take(count * (u32)sizeof *found)))
        error = E_NOMEM;
    if (error) {
        answer_error(result, 4, network_error(error));
        return;
    }
    for (u32 i = 0; i < count; i++)
        keep(&found[i], (struct place *)places.data + i);
    struct handle *made;
    answer_u32(result, handle_new(ADDRESSES, NULL, &made));
    made->block = (u8 *)found;
    made->block_size = count * (u32)sizeof *found;
}

// `result<option<ip-address>, error-code>`; `used` bytes have been handed out.
EXPORT("wasi:sockets/ip-name-lookup#[method]resolve-address-stream.resolve-next-address")
void resolve_next_address(u32 stream, u8 *result)
{
    struct handle *handle = get(stream, ADDRESSES);
    answer_ok(result);
    put8(result, 2, handle->used < handle->block_size);
    if (handle->used == handle->block_size)
        return;
    const struct found *next = (const struct found *)(handle->block + handle->used);
    handle->used += sizeof *next;
    put8(result, 4, next->family);
    put_ip(result + 6, next->family, next->bytes);
}

EXPORT("wasi:sockets/ip-name-lookup#[method]resolve-address-stream.subscribe") u32 addresses_subscribe(u32 stream)
{
    get(stream, ADDRESSES);
    return pollable_for(NULL, POLL_READY);
}

EXPORT("wasi:sockets/ip-name-lookup#[resource-drop]resolve-address-stream") void addresses_drop(u32 stream)
{
    handle_drop(stream, ADDRESSES);
}
