// What every file of the layer starts from: short integer names, the attributes of imports and exports, and reading and
// writing the canonical ABI's records.
//
// The layer implements WASI 0.2 as a component's core modules import it: each function has the signature that the
// canonical ABI lowers it to (component-model, design/mvp/CanonicalABI.md, "Flattening": at most 16 parameters, and a
// result that does not fit one value goes to memory whose address is the last parameter). A result's layout follows
// from "Alignment" and "Element Size" there: `result<T, E>` is one byte of discriminant and then, aligned for the
// larger of both, T or E. The offset of that payload is what the functions below call `at`.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef _Bool bool;
#define true 1
#define false 0
#define NULL ((void *)0)

// A position-independent module reaches a symbol of default visibility through an import for each of them
// (tool-conventions, DynamicLinking.md, "GOT.mem"); the linker that merges the layer offers none.
#pragma GCC visibility push(hidden)

#define EXPORT(name) __attribute__((export_name(name)))
#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))

static inline void put8(u8 *record, u32 at, u32 value) { record[at] = (u8)value; }
static inline void put16(u8 *record, u32 at, u32 value) { *(u16 *)(record + at) = (u16)value; }
static inline void put32(u8 *record, u32 at, u32 value) { *(u32 *)(record + at) = value; }
static inline void put64(u8 *record, u32 at, u64 value) { *(u64 *)(record + at) = value; }
static inline u16 get16(const u8 *record, u32 at) { return *(const u16 *)(record + at); }
static inline u32 get32(const u8 *record, u32 at) { return *(const u32 *)(record + at); }
static inline u64 get64(const u8 *record, u32 at) { return *(const u64 *)(record + at); }

// `list<u8>` and `string`: address and length.
static inline void put_list(u8 *record, u32 at, const void *items, u32 count)
{
    put32(record, at, (u32)items);
    put32(record, at + 4, count);
}

static inline void answer_ok(u8 *result) { put8(result, 0, 0); }

static inline void answer_u8(u8 *result, u32 value)
{
    put8(result, 0, 0);
    put8(result, 1, value);
}

static inline void answer_u32(u8 *result, u32 value)
{
    put8(result, 0, 0);
    put32(result, 4, value);
}

static inline void answer_u64(u8 *result, u64 value)
{
    put8(result, 0, 0);
    put64(result, 8, value);
}

// `code` is a case of one of the `error-code` enums.
static inline void answer_error(u8 *result, u32 at, u32 code)
{
    put8(result, 0, 1);
    put8(result, at, code);
}

static inline u64 smaller(u64 one, u64 other) { return one < other ? one : other; }
