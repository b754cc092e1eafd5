// wasi:filesystem: types, sizes and times of files, between preview 1's records and those of the WIT.
#include "errors.h"
#include "filesystem.h"

#define SECOND 1000000000ull

// Preview 1 has no type for a pipe, and two for sockets.
u32 descriptor_type(u32 filetype)
{
    enum { OTHER, BLOCK_DEVICE, CHARACTER_DEVICE, DIRECTORY, FIFO, SYMBOLIC_LINK, REGULAR_FILE, SOCKET };
    static const u8 types[] = {OTHER, BLOCK_DEVICE, CHARACTER_DEVICE, DIRECTORY,
                               REGULAR_FILE, SOCKET, SOCKET, SYMBOLIC_LINK};
    return filetype < sizeof types ? types[filetype] : OTHER;
}

// The times are options, and always there.
void answer_stat(u8 *result, u32 error, const struct filestat *stat)
{
    if (error) {
        answer_error(result, 8, filesystem_error(error));
        return;
    }
    answer_ok(result);
    put8(result, 8, descriptor_type(stat->filetype));
    put64(result, 16, stat->links);
    put64(result, 24, stat->size);
    for (u32 i = 0; i < 3; i++) {
        u8 *option = result + 32 + 24 * i;
        put8(option, 0, 1);
        put64(option, 8, stat->times[i] / SECOND);
        put32(option, 16, (u32)(stat->times[i] % SECOND));
    }
}

// Inode and device as they are: they tell files apart, which is all that the hash is for, and wasi-libc shows the lower
// half as st_ino (libc-bottom-half/cloudlibc/src/libc/sys/stat/stat_impl.h).
void answer_metadata_hash(u8 *result, u32 error, const struct filestat *stat)
{
    if (error) {
        answer_error(result, 8, filesystem_error(error));
        return;
    }
    answer_u64(result, stat->inode);
    put64(result, 16, stat->device);
}

// One `new-timestamp`: no change, now, or a time, which preview 1 counts in nanoseconds of 64 bits.
static u32 time_of(u64 *time, u32 *flags, u32 given, u64 seconds, u32 nanoseconds, u32 set, u32 set_now)
{
    *time = 0;
    if (given == 1)
        *flags |= set_now;
    if (given != 2)
        return E_SUCCESS;
    if (seconds > (~0ull - nanoseconds) / SECOND)
        return E_OVERFLOW;
    *flags |= set;
    *time = seconds * SECOND + nanoseconds;
    return E_SUCCESS;
}

u32 times_of(struct times *times, u32 access, u64 access_seconds, u32 access_nanoseconds, u32 change,
             u64 change_seconds, u32 change_nanoseconds)
{
    enum { ATIM = 1, ATIM_NOW = 2, MTIM = 4, MTIM_NOW = 8 };  // witx `fstflags`
    times->flags = 0;
    u32 error = time_of(&times->accessed, &times->flags, access, access_seconds, access_nanoseconds, ATIM, ATIM_NOW);
    if (error)
        return error;
    return time_of(&times->modified, &times->flags, change, change_seconds, change_nanoseconds, MTIM, MTIM_NOW);
}
