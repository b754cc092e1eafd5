// Memory of the layer's own, and memory that the component gets with a result.
#pragma once
#include "abi.h"

// Memory for the layer, aligned to 32 bytes, not cleared; NULL when there is no more. What is given back is so with the
// size that was asked for.
void *take(u32 size);
void give_back(void *block, u32 size);

// A buffer of the layer that is kept and grows: its content lasts until the next call with the same buffer.
struct scratch {
    u8 *data;
    u32 size;
};
u8 *room(struct scratch *buffer, u32 size);

// The one for a call's own passing needs: what a read brings before its length is known, a list of arguments.
extern struct scratch passing;

// Memory that belongs to the component from then on: part of a result.
void *component_memory(u32 size, u32 alignment);
u8 *component_copy(const void *bytes, u32 size);

void *memcpy(void *to, const void *from, unsigned long size);
void *memset(void *to, int value, unsigned long size);

// For broken invariants only, such as a handle that does not exist: says why on standard error and traps.
_Noreturn void die(const char *why);
