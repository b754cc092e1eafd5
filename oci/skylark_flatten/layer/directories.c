// wasi:filesystem: the entries of a directory.
#include "errors.h"
#include "filesystem.h"
#include "memory.h"
#include "preview1.h"

// witx `dirent`: the cookie that follows, the inode, the size of the name, the type; then the name.
enum { DIRENT_SIZE = 24, DIRENT_NAME_SIZE = 16, DIRENT_TYPE = 20 };
enum { FIRST_BLOCK = 4096 };

EXPORT("wasi:filesystem/types#[method]descriptor.read-directory") void read_directory(u32 descriptor, u8 *result)
{
    answer_u32(result, handle_new(DIRECTORY_ENTRIES, get(descriptor, DESCRIPTOR)->file, NULL));
}

// All entries at once, so that a program may remove files as it goes through them: where a cookie counts entries
// (wasmtime's preview 1; the offsets of Linux's tmpfs before 6.6, which WasmEdge's cookies are), it would miss some. The
// host cuts off what finds no room; a buffer with room to spare has the last entry.
static u32 read_all(struct handle *stream)
{
    for (u32 size = FIRST_BLOCK;; size *= 2) {
        give_back(stream->block, stream->block_size);
        stream->block_size = 0;
        stream->block = take(size);
        if (!stream->block)
            return E_NOMEM;
        stream->block_size = size;
        stream->used = 0;
        u32 error = p1_fd_readdir(stream->file->fd, stream->block, size, 0, &stream->used);
        if (error || stream->used < size)
            return error;
    }
}

// The next entry, or NULL after the last. In a stream's handle `block` holds `used` bytes of entries, and `position` is
// how many of them have been handed out.
static u32 next_entry(struct handle *stream, const u8 **entry)
{
    *entry = NULL;
    u32 error = stream->block ? E_SUCCESS : read_all(stream), at = (u32)stream->position;
    if (error || stream->used - at < DIRENT_SIZE)
        return error;
    *entry = stream->block + at;
    stream->position += DIRENT_SIZE + get32(*entry, DIRENT_NAME_SIZE);
    return E_SUCCESS;
}

static bool is_dot_or_dot_dot(const u8 *name, u32 size)
{
    return name[0] == '.' && (size == 1 || (size == 2 && name[1] == '.'));
}

// `result<option<directory-entry>, error-code>`.
EXPORT("wasi:filesystem/types#[method]directory-entry-stream.read-directory-entry")
void read_directory_entry(u32 stream, u8 *result)
{
    struct handle *handle = get(stream, DIRECTORY_ENTRIES);
    const u8 *entry;
    u32 size = 0, error;
    do {
        error = next_entry(handle, &entry);
        if (entry)
            size = get32(entry, DIRENT_NAME_SIZE);
    } while (entry && is_dot_or_dot_dot(entry + DIRENT_SIZE, size));
    if (error) {
        answer_error(result, 4, filesystem_error(error));
        return;
    }
    answer_ok(result);
    put8(result, 4, entry != NULL);
    if (!entry)
        return;
    put8(result, 8, descriptor_type(entry[DIRENT_TYPE]));
    put_list(result, 12, component_copy(entry + DIRENT_SIZE, size), size);
}

EXPORT("wasi:filesystem/types#[resource-drop]directory-entry-stream") void directory_entry_stream_drop(u32 stream)
{
    handle_drop(stream, DIRECTORY_ENTRIES);
}
