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

// In a stream's handle `block` holds `used` bytes of entries, of which `code` have been handed out, and `position` is
// the cookie to go on from.
static u32 read_more(struct handle *stream, u32 size)
{
    if (size > stream->block_size) {
        give_back(stream->block, stream->block_size);
        stream->block_size = 0;
        stream->block = take(size);
        if (!stream->block)
            return E_NOMEM;
        stream->block_size = size;
    }
    stream->code = 0;
    stream->used = 0;
    return p1_fd_readdir(stream->file->fd, stream->block, stream->block_size, stream->position, &stream->used);
}

static bool has_whole_entry(const struct handle *stream)
{
    u32 left = stream->used - stream->code;
    return left >= DIRENT_SIZE && left - DIRENT_SIZE >= get32(stream->block + stream->code, DIRENT_NAME_SIZE);
}

// The next entry, or NULL after the last. The host cuts off the entry that its buffer ends in; a buffer with room to
// spare ends with the directory.
static u32 next_entry(struct handle *stream, u8 **entry)
{
    *entry = NULL;
    while (!stream->block || !has_whole_entry(stream)) {
        bool at_end = stream->block && stream->used < stream->block_size;
        if (at_end)
            return E_SUCCESS;
        // Not even one entry found room: a name of any length will at last.
        u32 size = !stream->block ? FIRST_BLOCK : stream->code ? stream->block_size : stream->block_size * 2;
        u32 error = read_more(stream, size);
        if (error)
            return error;
    }
    *entry = stream->block + stream->code;
    stream->position = get64(*entry, 0);
    stream->code += DIRENT_SIZE + get32(*entry, DIRENT_NAME_SIZE);
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
    u8 *entry;
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
