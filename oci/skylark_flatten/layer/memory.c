// The layer asks memory.grow for its own memory. The component's allocator does the same, so each gets its own pages
// and neither minds the other's (dlmalloc takes an sbrk that is not contiguous).
#include "memory.h"
#include "preview1.h"

IMPORT("component", "realloc") void *component_realloc(void *old, u32 old_size, u32 alignment, u32 new_size);

#define PAGE 65536u

// Blocks have sizes of powers of two from 32 bytes on; what is given back waits in the list of its size. Nothing
// returns to the component, so the layer's memory is what it needed at its busiest, and does not grow with time.
enum { SMALLEST = 5, CLASSES = 32 - SMALLEST };
static void *free_blocks[CLASSES];
static u8 *unused_from;
static u32 unused_size;

struct scratch passing;

static u32 class_of(u32 size)
{
    return size <= 1u << SMALLEST ? 0 : 32 - (u32)__builtin_clz(size - 1) - SMALLEST;
}

static void *fresh(u32 size)
{
    if (size > unused_size) {
        u32 pages = (size + PAGE - 1) / PAGE;
        u32 grown = (u32)__builtin_wasm_memory_grow(0, pages);
        if (grown == ~0u)
            return NULL;
        // What was left of the last page is lost: less than the smaller of a page and a block.
        unused_from = (u8 *)(grown * PAGE);
        unused_size = pages * PAGE;
    }
    u8 *block = unused_from;
    unused_from += size;
    unused_size -= size;
    return block;
}

void *take(u32 size)
{
    if (size > 1u << 30)
        return NULL;
    u32 class = class_of(size);
    void *block = free_blocks[class];
    if (!block)
        return fresh(1u << (class + SMALLEST));
    free_blocks[class] = *(void **)block;
    return block;
}

void give_back(void *block, u32 size)
{
    if (!block)
        return;
    u32 class = class_of(size);
    *(void **)block = free_blocks[class];
    free_blocks[class] = block;
}

u8 *room(struct scratch *buffer, u32 size)
{
    if (size > buffer->size) {
        u32 rounded = 1u << (class_of(size) + SMALLEST);
        u8 *block = take(rounded);
        if (!block)
            die("no memory left");
        give_back(buffer->data, buffer->size);
        buffer->data = block;
        buffer->size = rounded;
    }
    return buffer->data;
}

// An empty list must not have memory: bindings free only the lists that have items, wit-bindgen's for C among them.
void *component_memory(u32 size, u32 alignment)
{
    return size ? component_realloc(NULL, 0, alignment, size) : (void *)alignment;
}

u8 *component_copy(const void *bytes, u32 size)
{
    u8 *copy = component_memory(size, 1);
    memcpy(copy, bytes, size);
    return copy;
}

// Both become one instruction of the bulk-memory feature; clang may call them for a struct's assignment.
void *memcpy(void *to, const void *from, unsigned long size)
{
    __builtin_memcpy(to, from, size);
    return to;
}

void *memset(void *to, int value, unsigned long size)
{
    __builtin_memset(to, value, size);
    return to;
}

void die(const char *why)
{
    u32 size = 0, written;
    while (why[size])
        size++;
    struct span message[3] = {{"WASI layer: ", 12}, {(void *)why, size}, {"\n", 1}};
    p1_fd_write(2, message, 3, &written);
    __builtin_trap();
}
