// wasi:filesystem: preopens, and what is done with an open descriptor.
#include "errors.h"
#include "filesystem.h"
#include "memory.h"
#include "preview1.h"
#include "streams.h"

// ---- preopens: preview 1 has them from descriptor 3 on, without gaps (wasi-libc,
// libc-bottom-half/sources/preopens.c).

enum { FIRST_PREOPEN = 3 };

// They stay open whatever the component drops, so each is one file with a reference too many, made once.
static struct file **preopens;
static u32 preopen_count;

// witx `prestat`: a tag, then the size of the directory's name.
static bool preopen_name_size(u32 index, u32 *size)
{
    u32 prestat[2];
    if (p1_fd_prestat_get(FIRST_PREOPEN + index, prestat))
        return false;
    *size = prestat[1];
    return true;
}

static void find_preopens(void)
{
    u32 size;
    while (preopen_name_size(preopen_count, &size))
        preopen_count++;
    preopens = take(preopen_count * 4 + 4);
    for (u32 i = 0; preopens && i < preopen_count; i++) {
        preopens[i] = file_new(FIRST_PREOPEN + i, FILE_PATH);
        if (!preopens[i])
            preopens = NULL;
        else
            preopens[i]->references++;
    }
    if (!preopens)
        die("no memory left for the preopened directories");
}

bool root_is_preopened(void)
{
    u32 size = 0;
    u8 name[2] = {0, 0};
    // Some hosts count a terminating zero.
    if (!preopen_name_size(0, &size) || size == 0 || size > sizeof name)
        return false;
    return !p1_fd_prestat_dir_name(FIRST_PREOPEN, name, size) && name[0] == '/' && name[1] == 0;
}

// `list<tuple<descriptor, string>>`.
EXPORT("wasi:filesystem/preopens#get-directories") void get_directories(u8 *result)
{
    if (!preopens)
        find_preopens();
    u8 *list = component_memory(preopen_count * 12, 4);
    for (u32 i = 0; i < preopen_count; i++) {
        u32 size = 0;
        preopen_name_size(i, &size);
        u8 *name = component_memory(size, 1);
        p1_fd_prestat_dir_name(FIRST_PREOPEN + i, name, size);
        // Some hosts count a terminating zero.
        while (size && name[size - 1] == 0)
            size--;
        put32(list, i * 12, descriptor_for(preopens[i], DESCRIPTOR_READ | DESCRIPTOR_MUTATE_DIRECTORY));
        put_list(list, i * 12 + 4, name, size);
    }
    put_list(result, 0, list, preopen_count);
}

// ---- descriptors

u32 descriptor_for(struct file *file, u32 flags)
{
    struct handle *made;
    u32 descriptor = handle_new(DESCRIPTOR, file, &made);
    made->flags = (u8)flags;
    return descriptor;
}

static struct file *file_of(u32 descriptor) { return get(descriptor, DESCRIPTOR)->file; }

static void answer_stream_of(u32 descriptor, enum handle_type type, bool appends, u64 position, u8 *result)
{
    struct handle *made;
    u32 stream = handle_new(type, file_of(descriptor), &made);
    made->kind = appends;
    made->position = position;
    answer_u32(result, stream);
}

EXPORT("wasi:filesystem/types#[method]descriptor.read-via-stream")
void read_via_stream(u32 descriptor, u64 offset, u8 *result)
{
    answer_stream_of(descriptor, INPUT_STREAM, false, offset, result);
}

EXPORT("wasi:filesystem/types#[method]descriptor.write-via-stream")
void write_via_stream(u32 descriptor, u64 offset, u8 *result)
{
    answer_stream_of(descriptor, OUTPUT_STREAM, false, offset, result);
}

EXPORT("wasi:filesystem/types#[method]descriptor.append-via-stream")
void append_via_stream(u32 descriptor, u8 *result)
{
    answer_stream_of(descriptor, OUTPUT_STREAM, true, 0, result);
}

// `result<tuple<list<u8>, bool>, error-code>`: the bytes, and whether the end was met.
EXPORT("wasi:filesystem/types#[method]descriptor.read")
void descriptor_read(u32 descriptor, u64 length, u64 offset, u8 *result)
{
    u32 size = (u32)smaller(length, LARGEST_TRANSFER), count = 0;
    u32 error = file_pread(file_of(descriptor), room(&passing, LARGEST_TRANSFER), size, offset, &count);
    if (error) {
        answer_error(result, 4, filesystem_error(error));
        return;
    }
    answer_ok(result);
    put_list(result, 4, component_copy(passing.data, count), count);
    put8(result, 12, count == 0 && size > 0);
}

EXPORT("wasi:filesystem/types#[method]descriptor.write")
void descriptor_write(u32 descriptor, const u8 *from, u32 size, u64 offset, u8 *result)
{
    u32 count = 0, error = file_pwrite(file_of(descriptor), from, size, offset, &count);
    if (error)
        answer_error(result, 8, filesystem_error(error));
    else
        answer_u64(result, count);
}

// The WIT's `advice` has the cases of the witx in the same order.
EXPORT("wasi:filesystem/types#[method]descriptor.advise")
void descriptor_advise(u32 descriptor, u64 offset, u64 length, u32 advice, u8 *result)
{
    answer_filesystem(result, p1_fd_advise(file_of(descriptor)->fd, offset, length, advice));
}

EXPORT("wasi:filesystem/types#[method]descriptor.sync") void descriptor_sync(u32 descriptor, u8 *result)
{
    answer_filesystem(result, p1_fd_sync(file_of(descriptor)->fd));
}

EXPORT("wasi:filesystem/types#[method]descriptor.sync-data") void descriptor_sync_data(u32 descriptor, u8 *result)
{
    u32 fd = file_of(descriptor)->fd, error = p1_fd_datasync(fd);
    // The right to it comes with writing only (see `rights_for`), the right to sync with reading too.
    answer_filesystem(result, error == E_NOTCAPABLE ? p1_fd_sync(fd) : error);
}

EXPORT("wasi:filesystem/types#[method]descriptor.get-flags") void descriptor_get_flags(u32 descriptor, u8 *result)
{
    answer_u8(result, get(descriptor, DESCRIPTOR)->flags);
}

EXPORT("wasi:filesystem/types#[method]descriptor.get-type") void descriptor_get_type(u32 descriptor, u8 *result)
{
    struct fdstat stat;
    u32 error = p1_fd_fdstat_get(file_of(descriptor)->fd, &stat);
    if (error)
        answer_filesystem(result, error);
    else
        answer_u8(result, descriptor_type(stat.filetype));
}

EXPORT("wasi:filesystem/types#[method]descriptor.set-size")
void descriptor_set_size(u32 descriptor, u64 size, u8 *result)
{
    answer_filesystem(result, p1_fd_filestat_set_size(file_of(descriptor)->fd, size));
}

EXPORT("wasi:filesystem/types#[method]descriptor.set-times")
void descriptor_set_times(u32 descriptor, u32 access, u64 access_seconds, u32 access_nanoseconds, u32 change,
                          u64 change_seconds, u32 change_nanoseconds, u8 *result)
{
    struct times times;
    u32 error = times_of(&times, access, access_seconds, access_nanoseconds, change, change_seconds,
                         change_nanoseconds);
    if (!error)
        error = p1_fd_filestat_set_times(file_of(descriptor)->fd, times.accessed, times.modified, times.flags);
    answer_filesystem(result, error);
}

EXPORT("wasi:filesystem/types#[method]descriptor.stat") void descriptor_stat(u32 descriptor, u8 *result)
{
    struct filestat stat;
    answer_stat(result, p1_fd_filestat_get(file_of(descriptor)->fd, &stat), &stat);
}

EXPORT("wasi:filesystem/types#[method]descriptor.metadata-hash")
void descriptor_metadata_hash(u32 descriptor, u8 *result)
{
    struct filestat stat;
    answer_metadata_hash(result, p1_fd_filestat_get(file_of(descriptor)->fd, &stat), &stat);
}

EXPORT("wasi:filesystem/types#[method]descriptor.is-same-object") u32 is_same_object(u32 descriptor, u32 other)
{
    struct filestat one, two;
    if (p1_fd_filestat_get(file_of(descriptor)->fd, &one) || p1_fd_filestat_get(file_of(other)->fd, &two))
        return false;
    return one.device == two.device && one.inode == two.inode;
}

EXPORT("wasi:filesystem/types#[resource-drop]descriptor") void descriptor_drop(u32 descriptor)
{
    handle_drop(descriptor, DESCRIPTOR);
}
