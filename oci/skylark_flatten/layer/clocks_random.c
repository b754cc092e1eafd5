// wasi:clocks and wasi:random.
#include "handles.h"
#include "memory.h"
#include "poll.h"
#include "preview1.h"

#define SECOND 1000000000ull

u64 now(void)
{
    u64 time = 0;
    p1_clock_time_get(CLOCK_MONOTONIC, 1, &time);
    return time;
}

EXPORT("wasi:clocks/monotonic-clock#now") u64 monotonic_now(void) { return now(); }

EXPORT("wasi:clocks/monotonic-clock#resolution") u64 monotonic_resolution(void)
{
    u64 resolution = 1;
    p1_clock_res_get(CLOCK_MONOTONIC, &resolution);
    return resolution;
}

EXPORT("wasi:clocks/monotonic-clock#subscribe-instant") u32 subscribe_instant(u64 when)
{
    struct handle *made;
    u32 pollable = handle_new(POLLABLE, NULL, &made);
    made->kind = POLL_CLOCK;
    made->position = smaller(when, NEVER - 1);
    return pollable;
}

// A duration that would end beyond the clock's range never ends.
EXPORT("wasi:clocks/monotonic-clock#subscribe-duration") u32 subscribe_duration(u64 duration)
{
    u64 start = now();
    return subscribe_instant(duration > NEVER - start ? NEVER : start + duration);
}

static void put_datetime(u8 *record, u64 nanoseconds)
{
    put64(record, 0, nanoseconds / SECOND);
    put32(record, 8, (u32)(nanoseconds % SECOND));
}

EXPORT("wasi:clocks/wall-clock#now") void wall_now(u8 *result)
{
    u64 time = 0;
    p1_clock_time_get(CLOCK_REALTIME, 1, &time);
    put_datetime(result, time);
}

EXPORT("wasi:clocks/wall-clock#resolution") void wall_resolution(u8 *result)
{
    u64 resolution = 1;
    p1_clock_res_get(CLOCK_REALTIME, &resolution);
    put_datetime(result, resolution);
}

// All of wasi:random comes from random_get, which is as good as the host's: WasmEdge's is seeded with 64 bits from the
// system and no generator for keys (include/common/hash.h, RandomEngine).
static void random(void *to, u32 size)
{
    if (p1_random_get(to, size))
        die("the host has no random bytes");
}

EXPORT("wasi:random/random#get-random-bytes") void get_random_bytes(u64 count, u8 *result)
{
    if (count > ~0u)
        die("more random bytes than there is memory");
    u8 *bytes = component_memory((u32)count, 1);
    if (count)
        random(bytes, (u32)count);
    put_list(result, 0, bytes, (u32)count);
}

EXPORT("wasi:random/random#get-random-u64") u64 get_random_u64(void)
{
    u64 value;
    random(&value, sizeof value);
    return value;
}

EXPORT("wasi:random/insecure#get-insecure-random-bytes") void get_insecure_random_bytes(u64 count, u8 *result)
{
    get_random_bytes(count, result);
}

EXPORT("wasi:random/insecure#get-insecure-random-u64") u64 get_insecure_random_u64(void) { return get_random_u64(); }

EXPORT("wasi:random/insecure-seed#insecure-seed") void insecure_seed(u8 *result) { random(result, 16); }
