// What TCP, UDP and the streams share.
#pragma once
#include "handles.h"
#include "preview1.h"

// The states of tcp.wit ("The socket can be in one of the following states"); UDP uses the first three.
enum socket_state { UNBOUND, BINDING, BOUND, LISTEN_STARTED, LISTENING, CONNECTING, CONNECTED, CLOSED };

// Sends what it can and keeps the rest; an errno, or END_OF_STREAM when the other side takes no more.
u32 send_or_keep(struct file *file, const u8 *data, u32 size);
void flush_pending(struct file *file);
u32 shut_down(struct file *file, u32 directions);

// Whether a file that nobody refers to any more is kept until its bytes are sent.
bool linger(struct file *file);
void file_close(struct file *file);
void flush_before_exit(void);
extern struct file *pending_files;

// The `ip-socket-address` of a call: its case and the 11 values that both cases flatten to.
#define ADDRESS_PARAMETERS                                                                                             \
    u32 family, u32 a0, u32 a1, u32 a2, u32 a3, u32 a4, u32 a5, u32 a6, u32 a7, u32 a8, u32 a9, u32 a10
#define ADDRESS_ARGUMENTS {a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10}

struct address address_of(u32 family, const u32 *values);
static inline u32 bytes_of(const struct address *address) { return address->family ? 16 : 4; }
struct address address_at(const u8 *record);

// Of what the host writes: a WasiAddrStorage (include/host/wasi/environ.h), the family and then the bytes.
enum { ADDRESS_STORAGE = 128 };
struct address address_in(const u8 *storage, u32 port);
void put_address(u8 *record, const struct address *address);
void put_ip(u8 *record, u32 family, const u8 *bytes);

// The errno for an address that a socket cannot be bound to, or be connected to; E_SUCCESS otherwise.
u32 check_local(const struct file *file, const struct address *address);
u32 check_remote(const struct file *file, const struct address *address);


// `result<ip-socket-address, error-code>`. The remote address is the one that the socket was connected to or accepted
// from: the host forgets it once the other side has reset the connection.
void answer_local_address(struct file *file, u8 *result);
void answer_remote_address(struct file *file, u8 *result);
u32 learn_remote_address(struct file *file);

// wasi/api.hpp, __WASI_SOCK_OPT_SO_...; the level is always SOL_SOCKET, 0.
enum {
    OPTION_REUSE_ADDRESS = 0,
    OPTION_ERROR = 2,
    OPTION_SEND_BUFFER = 5,
    OPTION_RECEIVE_BUFFER = 6,
    OPTION_KEEP_ALIVE = 7,
};
u32 get_option(struct file *file, u32 name, u32 *value);
u32 set_option(struct file *file, u32 name, u32 value);

// `result<u64, error-code>` and `result<_, error-code>` for one of the two buffer sizes.
void answer_buffer_size(struct file *file, u32 option, u8 *result);
void answer_set_buffer_size(struct file *file, u32 option, u64 size, u8 *result);
void answer_set_hop_limit(u32 hops, u8 *result);

// The host's socket, non-blocking; the result is `result<own, error-code>`.
void answer_new_socket(u32 family, u32 type, u8 *result);
