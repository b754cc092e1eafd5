// The component's handles, and the host's descriptors that they share.
#pragma once
#include "abi.h"

struct address {
    u8 family;            // 0: IPv4, 1: IPv6, as `ip-address-family`
    u8 known;
    u16 port;
    u32 scope;
    u8 bytes[16];         // in network order
};

// What one descriptor of the host is to the layer. A descriptor resource or a socket, its streams and their pollables
// are handles of their own that share one; it is closed with the last of them.
struct file {
    u32 fd;
    u32 references;
    u8 kind;
    u8 waiting;           // whether poll_oneoff can wait for it: one of WAIT_...
    u8 appending;         // O_APPEND is set
    u8 without_position;  // a pipe or a terminal: pread and pwrite do not apply
    u8 fdflags;           // what it was opened with

    // Sockets.
    u8 family;            // 0: IPv4, 1: IPv6, as `ip-address-family`
    u8 state;             // one of the states in sockets.h
    u8 shut;              // directions that the component has shut down: SHUTDOWN_...
    u8 shut_after_flush;  // SHUTDOWN_SEND once nothing is pending
    u8 ended;             // the other side has ended its direction
    u8 full;              // the last write found no room
    u8 connect_done;      // TCP: the result of connect is known
    u32 connect_error;    // and is this errno
    u32 backlog;
    u32 write_error;      // the errno that ended sending
    struct address remote;

    // What the component has written and the host has not yet taken, from `pending_from` to `pending_to` in `pending`;
    // a file with such bytes is in a list, so that they are sent whenever the component polls.
    u8 *pending;
    u32 pending_size, pending_from, pending_to;
    struct file *next_pending, *previous_pending;
    u64 give_up_at;       // when a dropped socket's bytes are given up

    // poll's own, for the round of that number.
    u32 round;
    u8 asked, happened;   // DIRECTION_READ, DIRECTION_WRITE
};

enum { FILE_PATH, FILE_STDIO, FILE_TCP, FILE_UDP };
enum { WAIT_UNKNOWN, WAIT_POSSIBLE, WAIT_NEEDLESS };
enum { DIRECTION_READ = 1, DIRECTION_WRITE = 2 };

enum handle_type {
    FREE,
    DESCRIPTOR,
    DIRECTORY_ENTRIES,
    INPUT_STREAM,
    OUTPUT_STREAM,
    POLLABLE,
    IO_ERROR,
    NETWORK,
    TCP_SOCKET,
    UDP_SOCKET,
    INCOMING_DATAGRAMS,
    OUTGOING_DATAGRAMS,
    ADDRESSES,
    TERMINAL_INPUT,
    TERMINAL_OUTPUT,
};

enum pollable_kind { POLL_READY, POLL_CLOCK, POLL_READ, POLL_WRITE, POLL_SOCKET };

// What a handle stands for. Which members count depends on the type.
struct handle {
    u8 type;
    u8 kind;              // POLLABLE: one of POLL_...; OUTPUT_STREAM: 1 appends
    u8 flags;             // DESCRIPTOR: its `descriptor-flags`
    u8 ready;             // POLLABLE: the last round's answer
    u32 code;             // IO_ERROR: errno
    struct file *file;
    u64 position;         // streams of files: where; POLL_CLOCK: nanoseconds; DIRECTORY_ENTRIES: where in the block
    u8 *block;            // DIRECTORY_ENTRIES, ADDRESSES: what has been read, `block_size` long
    u32 block_size, used;
    u32 next_free;
};

// A new handle's number, and the handle of a number; `get` ends the program when there is none of that type.
u32 handle_new(enum handle_type type, struct file *file, struct handle **made);
struct handle *get(u32 number, enum handle_type type);
void handle_drop(u32 number, enum handle_type type);

// NULL when there is no memory; the descriptor is closed then.
struct file *file_new(u32 fd, u8 kind);
void file_release(struct file *file);
