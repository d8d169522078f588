/* What the headers and symbols of a program or library say. Owns: reading ELF. May not know: what follows from it. */
#ifndef QUARRY_ELF_FILE_H
#define QUARRY_ELF_FILE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

struct elf_file {
    unsigned char class; /* ELFCLASS32, ELFCLASS64 */
    unsigned char data;  /* ELFDATA2LSB, ELFDATA2MSB */
    unsigned machine;    /* EM_… */
    bool has_interpreter;
    char interpreter[PATH_MAX]; /* the dynamic loader that PT_INTERP names */
};

enum elf_result { ELF_OK, ELF_NOT_ELF, ELF_UNREADABLE, ELF_BROKEN };

enum elf_result elf_read(const char *path, struct elf_file *elf);

/*
 * Its dynamic symbol table defines `symbol`: the loader finds that before what any library defines, a preloaded one
 * too. An import is none, also where it has an address (of a stub, in a program that is not position-independent).
 */
bool elf_defines(const char *path, const char *symbol);

/* It is linked with a shared library whose name begins so. */
bool elf_needs(const char *path, const char *start);

/* "64-bit x86-64"; the text lies in `text`. */
const char *elf_describe(const struct elf_file *elf, char *text, size_t size);

/* One can be loaded into a process of the other. */
bool elf_same_kind(const struct elf_file *a, const struct elf_file *b);

#endif
