#include "elf_file.h"

#include <elf.h>
#include <endian.h>
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* e_machine lies at the same place in both classes, in the file's own byte order. */
static unsigned machine_of(const unsigned char *header)
{
    const unsigned char *at = header + offsetof(Elf64_Ehdr, e_machine);
    return header[EI_DATA] == ELFDATA2MSB ? (unsigned)at[0] << 8 | at[1] : (unsigned)at[1] << 8 | at[0];
}

static bool native(const struct elf_file *elf)
{
    return elf->data == (__BYTE_ORDER == __LITTLE_ENDIAN ? ELFDATA2LSB : ELFDATA2MSB);
}

static enum elf_result take_interpreter(int fd, struct elf_file *elf, uint64_t offset, uint64_t size)
{
    if (size == 0 || size > sizeof elf->interpreter)
        return ELF_BROKEN;
    if (pread(fd, elf->interpreter, size, (off_t)offset) != (ssize_t)size ||
        elf->interpreter[size - 1] != '\0')
        return ELF_BROKEN;
    elf->has_interpreter = true;
    return ELF_OK;
}

/* The program header table, whichever class the file has. */
struct parts {
    uint64_t offset;
    unsigned count, size;
};

static bool read_parts(int fd, const struct elf_file *elf, struct parts *parts)
{
    union {
        Elf32_Ehdr is32;
        Elf64_Ehdr is64;
    } header;
    if (elf->class == ELFCLASS32) {
        *parts = (struct parts){0, 0, sizeof(Elf32_Phdr)};
        if (pread(fd, &header, sizeof header.is32, 0) != sizeof header.is32)
            return false;
        parts->offset = header.is32.e_phoff;
        parts->count = header.is32.e_phnum;
        return parts->count == 0 || header.is32.e_phentsize == parts->size;
    }
    *parts = (struct parts){0, 0, sizeof(Elf64_Phdr)};
    if (pread(fd, &header, sizeof header.is64, 0) != sizeof header.is64)
        return false;
    parts->offset = header.is64.e_phoff;
    parts->count = header.is64.e_phnum;
    return parts->count == 0 || header.is64.e_phentsize == parts->size;
}

static enum elf_result find_interpreter(int fd, struct elf_file *elf)
{
    struct parts parts;
    if (!read_parts(fd, elf, &parts))
        return ELF_BROKEN;
    for (unsigned i = 0; i < parts.count; i++) {
        union {
            Elf32_Phdr is32;
            Elf64_Phdr is64;
        } part;
        if (pread(fd, &part, parts.size, (off_t)(parts.offset + (uint64_t)i * parts.size)) !=
            (ssize_t)parts.size)
            return ELF_BROKEN;
        bool is32 = elf->class == ELFCLASS32;
        if ((is32 ? part.is32.p_type : part.is64.p_type) == PT_INTERP)
            return take_interpreter(fd, elf, is32 ? part.is32.p_offset : part.is64.p_offset,
                                    is32 ? part.is32.p_filesz : part.is64.p_filesz);
    }
    return ELF_OK;
}

static enum elf_result read_open(int fd, struct elf_file *elf)
{
    unsigned char start[sizeof(Elf32_Ehdr)] = {0};
    ssize_t got = pread(fd, start, sizeof start, 0);
    if (got < 0)
        return ELF_UNREADABLE;
    if (got < SELFMAG || memcmp(start, ELFMAG, SELFMAG) != 0)
        return ELF_NOT_ELF;
    if (got < (ssize_t)(offsetof(Elf64_Ehdr, e_machine) + 2))
        return ELF_BROKEN;
    *elf = (struct elf_file){.class = start[EI_CLASS], .data = start[EI_DATA], .machine = machine_of(start)};
    if (!native(elf))
        return ELF_OK; /* a foreign machine's: kind and machine are all that anyone asks */
    return find_interpreter(fd, elf);
}

enum elf_result elf_read(const char *path, struct elf_file *elf)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return ELF_UNREADABLE;
    enum elf_result result = read_open(fd, elf);
    close(fd);
    return result;
}

/* What a section of this type holds; NULL: it is of another. */
static Elf_Data *data_of(Elf_Scn *section, GElf_Word type, GElf_Shdr *header)
{
    return gelf_getshdr(section, header) && header->sh_type == type ? elf_getdata(section, NULL) : NULL;
}

static bool section_defines(Elf *elf, Elf_Scn *section, const char *symbol)
{
    GElf_Shdr header;
    Elf_Data *data = data_of(section, SHT_DYNSYM, &header);
    GElf_Sym entry;
    for (int i = 0; data && gelf_getsym(data, i, &entry); i++) {
        const char *name = elf_strptr(elf, header.sh_link, entry.st_name);
        if (entry.st_shndx != SHN_UNDEF && name && strcmp(name, symbol) == 0)
            return true;
    }
    return false;
}

static bool section_needs(Elf *elf, Elf_Scn *section, const char *start)
{
    GElf_Shdr header;
    Elf_Data *data = data_of(section, SHT_DYNAMIC, &header);
    GElf_Dyn entry;
    for (int i = 0; data && gelf_getdyn(data, i, &entry); i++) {
        const char *name =
            entry.d_tag == DT_NEEDED ? elf_strptr(elf, header.sh_link, entry.d_un.d_val) : NULL;
        if (name && strncmp(name, start, strlen(start)) == 0)
            return true;
    }
    return false;
}

static bool any_section(const char *path, bool (*has)(Elf *elf, Elf_Scn *section, const char *word),
                        const char *word)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    elf_version(EV_CURRENT);
    Elf *elf = fd < 0 ? NULL : elf_begin(fd, ELF_C_READ, NULL);
    bool found = false;
    for (Elf_Scn *section = NULL; !found && (section = elf_nextscn(elf, section));)
        found = has(elf, section, word);
    elf_end(elf);
    if (fd >= 0)
        close(fd);
    return found;
}

bool elf_defines(const char *path, const char *symbol)
{
    return any_section(path, section_defines, symbol);
}

bool elf_needs(const char *path, const char *start)
{
    return any_section(path, section_needs, start);
}

const char *elf_describe(const struct elf_file *elf, char *text, size_t size)
{
    static const struct {
        unsigned machine;
        const char *name;
    } names[] = {{EM_386, "x86"},       {EM_X86_64, "x86-64"}, {EM_ARM, "arm"},
                 {EM_AARCH64, "arm64"}, {EM_RISCV, "risc-v"},  {EM_PPC64, "ppc64"},
                 {EM_S390, "s390"},     {EM_MIPS, "mips"},     {EM_LOONGARCH, "loongarch"}};
    const char *bits = elf->class == ELFCLASS32 ? "32-bit" : "64-bit";
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].machine == elf->machine) {
            snprintf(text, size, "%s %s", bits, names[i].name);
            return text;
        }
    snprintf(text, size, "%s machine %u", bits, elf->machine);
    return text;
}

bool elf_same_kind(const struct elf_file *a, const struct elf_file *b)
{
    return a->class == b->class && a->data == b->data && a->machine == b->machine;
}
