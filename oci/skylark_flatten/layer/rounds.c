// Rounds: calls of poll_oneoff, and what WasmEdge's needs so that it neither blocks for ever nor returns in a loop.
#include "rounds.h"
#include "memory.h"
#include "poll.h"
#include "preview1.h"
#include "sockets.h"

#define MILLISECOND 1000000ull

// witx `subscription` and `event`.
struct subscription {
    u64 userdata;
    u8 type;  // EVENT_CLOCK, or EVENT_READ and EVENT_WRITE, which follow from the direction
    union {
        struct {
            u32 id;
            u64 timeout, precision;
            u16 flags;
        } clock;
        u32 fd;
    };
};
struct event {
    u64 userdata;
    u16 error;
    u8 type;
    u64 bytes;
    u16 flags;
};
_Static_assert(sizeof(struct subscription) == 48 && sizeof(struct event) == 32, "sizes of the witx");
enum { EVENT_CLOCK = 0, CLOCK_ABSOLUTE = 1 };

static struct scratch subscriptions, events;
static u32 asked_for;  // subscriptions of this round
static u32 round;

static void add_subscription(struct subscription subscription)
{
    u32 size = (asked_for + 1) * (u32)sizeof subscription;
    if (size > subscriptions.size) {
        // Twice as large, with what is there already.
        struct scratch larger = {NULL, 0};
        memcpy(room(&larger, size), subscriptions.data, asked_for * (u32)sizeof subscription);
        give_back(subscriptions.data, subscriptions.size);
        subscriptions = larger;
    }
    ((struct subscription *)subscriptions.data)[asked_for++] = subscription;
}

// WasmEdge refuses a second subscription of the same direction (EXIST; Poller::read, lib/host/wasi/inode-linux.cpp).
void ask(struct file *file, u32 direction)
{
    if (file->round != round) {
        file->round = round;
        file->asked = file->happened = 0;
    }
    if (file->asked & direction)
        return;
    file->asked |= direction;
    add_subscription((struct subscription){.userdata = (u32)file | direction, .type = (u8)direction, .fd = file->fd});
}

static void ask_clock(u64 deadline)
{
    add_subscription((struct subscription){
        .type = EVENT_CLOCK,
        .clock = {.id = CLOCK_MONOTONIC, .timeout = deadline, .flags = CLOCK_ABSOLUTE},
    });
}

static void sleep_until(u64 deadline)
{
    u32 count;
    asked_for = 0;
    ask_clock(deadline);
    p1_poll_oneoff(subscriptions.data, room(&events, sizeof(struct event)), 1, &count);
}

// Takes in one event. An error counts as an event, so that the next operation on the file reports it; but a call that a
// signal interrupted (INTR), and what WasmEdge's poller still holds of that call (EXIST), say nothing.
static void note(const struct event *event)
{
    struct file *file = (struct file *)(u32)(event->userdata & ~3ull);
    if (file && event->error != E_INTR && event->error != E_EXIST)
        file->happened |= (u8)(event->userdata & 3);
}

// Asks the host for the round's subscriptions and returns how many events it gave.
static u32 call_host(void)
{
    u32 count = 0;
    struct event *list = (struct event *)room(&events, asked_for * (u32)sizeof *list);
    u32 error = p1_poll_oneoff(subscriptions.data, list, asked_for, &count);
    if (error == E_INTR)
        return 1;
    if (error) {
        // The host refuses: let every operation find out for itself, though not in a loop that takes all of a core.
        const struct subscription *all = (const struct subscription *)subscriptions.data;
        for (u32 i = 0; i < asked_for; i++)
            note(&(struct event){.userdata = all[i].userdata});
        sleep_until(now() + MILLISECOND);
        return 1;
    }
    for (u32 i = 0; i < count; i++)
        note(&list[i]);
    return count;
}

// WasmEdge's poll_oneoff returns without any event when epoll reports only what was not asked for: an error of a UDP
// socket (EPOLLERR), or that the other side has ended its direction (EPOLLRDHUP) while the program waits to send
// (Poller::wait, lib/host/wasi/inode-linux.cpp). The first is an event. The second goes on until the socket is closed:
// leave such files out for some milliseconds and wait for the others, then look again.
static u32 leave_out_writers(void)
{
    struct subscription *all = (struct subscription *)subscriptions.data;
    u32 kept = 0, errors = 0;
    for (u32 i = 0; i < asked_for; i++) {
        struct file *file = (struct file *)(u32)(all[i].userdata & ~3ull);
        if (file && file->kind == FILE_UDP) {
            file->happened |= file->asked;
            errors++;
        }
        if (file && file->asked != DIRECTION_WRITE)
            all[kept++] = all[i];
    }
    asked_for = kept;
    return errors;
}

// Sockets that have been dropped are closed once their bytes are sent, or nothing has been taken for a minute.
static void flush_all_pending(void)
{
    for (struct file *file = pending_files, *next; file; file = next) {
        next = file->next_pending;
        if (has_happened(file, DIRECTION_WRITE)) {
            flush_pending(file);
            if (file->pending)
                file->happened &= (u8)~DIRECTION_WRITE;
        }
        if (file->references == 0 && (!file->pending || file->give_up_at < now()))
            file_close(file);
    }
}

void run_round(u64 deadline)
{
    if (deadline != NEVER)
        ask_clock(deadline);
    if (!call_host() && !leave_out_writers()) {
        u64 soon = smaller(deadline, now() + 5 * MILLISECOND);
        ask_clock(soon);
        if (!call_host())
            sleep_until(soon);
    }
    flush_all_pending();
}

void begin_round(void)
{
    round++;
    asked_for = 0;
    for (struct file *file = pending_files; file; file = file->next_pending)
        ask(file, DIRECTION_WRITE);
}

bool anything_asked(void) { return asked_for != 0; }

bool has_happened(const struct file *file, u32 direction)
{
    return file->round == round && file->happened & direction;
}

// Whether poll_oneoff can wait for the file at all. A regular file is always ready, and WasmEdge never returns from
// waiting for one: epoll refuses it (EPERM), and the poller waits although it has that error (Poller::wait). The same
// goes for /dev/null. So the first time a clock that has run out is asked along.
bool waiting_is_possible(struct file *file, u32 direction)
{
    if (file->kind == FILE_TCP || file->kind == FILE_UDP)
        return true;
    if (file->waiting == WAIT_UNKNOWN) {
        struct event list[2];
        u32 count = 0;
        const struct subscription both[2] = {
            {.userdata = 1, .type = (u8)direction, .fd = file->fd},
            {.type = EVENT_CLOCK, .clock = {.id = CLOCK_MONOTONIC}},
        };
        u32 error = p1_poll_oneoff(both, list, 2, &count);
        for (u32 i = 0; i < count; i++)
            if (list[i].userdata == 1)
                error |= list[i].error;
        file->waiting = error ? WAIT_NEEDLESS : WAIT_POSSIBLE;
    }
    return file->waiting == WAIT_POSSIBLE;
}

void flush_until(u64 deadline)
{
    while (pending_files && now() < deadline) {
        begin_round();
        run_round(deadline);
    }
}
