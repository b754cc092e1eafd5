// Handles are numbers from 1 on, as in the canonical ABI's own table (CanonicalABI.md, "Table State"), and are used
// again. They lie in chunks that are twice as large each time and never move, so a pointer to one stays good.
#include "handles.h"
#include "memory.h"
#include "preview1.h"
#include "sockets.h"

enum { FIRST_CHUNK = 64, CHUNKS = 24 };
static struct handle *chunks[CHUNKS];
static u32 made_so_far;
static u32 first_free;

// The chunk k holds FIRST_CHUNK << k handles.
static struct handle *at(u32 number)
{
    u32 shifted = number - 1 + FIRST_CHUNK;
    u32 chunk = 31 - (u32)__builtin_clz(shifted / FIRST_CHUNK);
    return &chunks[chunk][shifted - (FIRST_CHUNK << chunk)];
}

static u32 unused_number(void)
{
    u32 number = first_free;
    if (number) {
        first_free = at(number)->next_free;
        return number;
    }
    u32 chunk = 31 - (u32)__builtin_clz((made_so_far + FIRST_CHUNK) / FIRST_CHUNK);
    if (!chunks[chunk])
        chunks[chunk] = take((u32)(FIRST_CHUNK * sizeof(struct handle)) << chunk);
    if (!chunks[chunk])
        die("no memory left for handles");
    return ++made_so_far;
}

u32 handle_new(enum handle_type type, struct file *file, struct handle **made)
{
    u32 number = unused_number();
    struct handle *handle = at(number);
    *handle = (struct handle){.type = type, .file = file};
    if (file)
        file->references++;
    if (made)
        *made = handle;
    return number;
}

struct handle *get(u32 number, enum handle_type type)
{
    if (number == 0 || number > made_so_far || at(number)->type != type)
        die("a handle that does not exist, or of another type");
    return at(number);
}

void handle_drop(u32 number, enum handle_type type)
{
    struct handle *handle = get(number, type);
    give_back(handle->block, handle->block_size);
    if (handle->file)
        file_release(handle->file);
    handle->type = FREE;
    handle->next_free = first_free;
    first_free = number;
}

struct file *file_new(u32 fd, u8 kind)
{
    struct file *file = take(sizeof *file);
    if (!file)
        p1_fd_close(fd);
    else
        *file = (struct file){.fd = fd, .kind = kind};
    return file;
}

void file_release(struct file *file)
{
    if (--file->references == 0 && !linger(file))
        file_close(file);
}
