// wasi:io/poll: which pollables are ready, and waiting for those that are not.
#include "poll.h"
#include "memory.h"
#include "preview1.h"
#include "rounds.h"
#include "sockets.h"

// What a pollable wants of the host: nothing, because it is ready; its clock; or a direction of its file.
enum wish { WISH_NOTHING = 0, WISH_READ = DIRECTION_READ, WISH_WRITE = DIRECTION_WRITE, WISH_CLOCK = 4 };

static enum wish wish_to_write(const struct file *file)
{
    // A TCP socket takes bytes as long as nothing is pending; the others until the host has said that it takes no more.
    return file->pending || file->full ? WISH_WRITE : WISH_NOTHING;
}

// A socket's pollable is good for all of its life: what it waits for follows from the state.
static enum wish wish_of_socket(const struct file *file)
{
    if (file->kind == FILE_TCP && file->state == LISTENING)
        return WISH_READ;
    return file->kind == FILE_TCP && file->state == CONNECTING && !file->connect_done ? WISH_WRITE : WISH_NOTHING;
}

static enum wish wish_of(struct file *file, enum pollable_kind kind)
{
    switch (kind) {
    case POLL_CLOCK:
        return WISH_CLOCK;
    case POLL_READ:
        if (file->ended || file->shut & SHUTDOWN_RECEIVE || !waiting_is_possible(file, DIRECTION_READ))
            return WISH_NOTHING;
        return WISH_READ;
    case POLL_WRITE:
        return wish_to_write(file);
    case POLL_SOCKET:
        return wish_of_socket(file);
    default:
        return WISH_NOTHING;
    }
}

// `time` is asked for once a round, and only where there is a clock.
static bool fulfilled(const struct handle *pollable, u64 *time)
{
    enum wish wish = wish_of(pollable->file, pollable->kind);
    if (wish == WISH_CLOCK && *time == 0)
        *time = now();
    if (wish == WISH_CLOCK)
        return pollable->position <= *time;
    return wish == WISH_NOTHING || has_happened(pollable->file, wish);
}

// Marks the pollables of the list that are ready, and returns how many.
static u32 mark_ready(const u32 *pollables, u32 count)
{
    u32 ready = 0;
    u64 time = 0;
    for (u32 i = 0; i < count; i++) {
        struct handle *pollable = get(pollables[i], POLLABLE);
        pollable->ready = fulfilled(pollable, &time);
        ready += pollable->ready;
    }
    return ready;
}

// Asks for those that are not ready, and returns the earliest of their clocks.
static u64 ask_for(const u32 *pollables, u32 count)
{
    u64 deadline = NEVER;
    for (u32 i = 0; i < count; i++) {
        struct handle *pollable = get(pollables[i], POLLABLE);
        if (pollable->ready)
            continue;
        if (pollable->kind == POLL_CLOCK)
            deadline = smaller(deadline, pollable->position);
        else
            ask(pollable->file, wish_of(pollable->file, pollable->kind));
    }
    return deadline;
}

// Waits until at least one of the list is ready, or only looks. Who is ready at once does not keep the host from being
// asked for the others: a program with a timer that has always run out would never hear of its sockets.
static u32 wait_for(const u32 *pollables, u32 count, bool wait)
{
    for (;;) {
        begin_round();
        u32 ready = mark_ready(pollables, count);
        u64 deadline = ask_for(pollables, count);
        if (!anything_asked() && (ready || !wait || deadline == NEVER))
            return ready;
        run_round(ready || !wait ? 0 : deadline);
        ready = mark_ready(pollables, count);
        if (ready || !wait)
            return ready;
    }
}

EXPORT("wasi:io/poll#poll") void poll(const u32 *pollables, u32 count, u8 *result)
{
    u32 ready = wait_for(pollables, count, true), filled = 0;
    u32 *indices = component_memory(ready * 4, 4);
    for (u32 i = 0; i < count; i++)
        if (get(pollables[i], POLLABLE)->ready)
            indices[filled++] = i;
    put_list(result, 0, indices, filled);
}

EXPORT("wasi:io/poll#[method]pollable.ready") u32 pollable_ready(u32 pollable) { return wait_for(&pollable, 1, false); }

EXPORT("wasi:io/poll#[method]pollable.block") void pollable_block(u32 pollable) { wait_for(&pollable, 1, true); }

EXPORT("wasi:io/poll#[resource-drop]pollable") void pollable_drop(u32 pollable) { handle_drop(pollable, POLLABLE); }

u32 pollable_for(struct file *file, enum pollable_kind kind)
{
    struct handle *made;
    u32 pollable = handle_new(POLLABLE, file, &made);
    made->kind = kind;
    return pollable;
}

bool is_ready(struct file *file, enum pollable_kind kind)
{
    u32 pollable = pollable_for(file, kind);
    bool ready = pollable_ready(pollable);
    handle_drop(pollable, POLLABLE);
    return ready;
}

void wait_until_ready(struct file *file, enum pollable_kind kind)
{
    u32 pollable = pollable_for(file, kind);
    pollable_block(pollable);
    handle_drop(pollable, POLLABLE);
}
