// D4: the core dump shows the fault, not the shim: the same instruction, the same registers.
#include "victim.h"

#include <elf.h>
#include <sys/mman.h>
#include <sys/procfs.h>

// Registers with a mark in them at the instant of the fault, so that a core written from anywhere else is found out.
static void fault(void)
{
#if defined __x86_64__
    __asm__ volatile("movabsq $0x1122334455667788, %%rbx\n\tmovq %%rbx, %%rcx\n\tmovq %%rbx, %%rdx\n\tmovq %%rbx, %%rsi\n\t"
                     "movq %%rbx, %%rdi\n\tmovq %%rbx, %%r8\n\tmovq %%rbx, %%r9\n\tmovq %%rbx, %%r10\n\t"
                     "movq %%rbx, %%r11\n\tmovq %%rbx, %%r12\n\tmovq %%rbx, %%r13\n\tmovq %%rbx, %%r14\n\t"
                     "movq %%rbx, %%r15\n\txorl %%eax, %%eax\n\tmovl %%eax, (%%rax)" ::
                     : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
                       "memory");
#else
    *(volatile int *)NULL = 1;
#endif
}

static void play(const void *tracks)
{
    struct rlimit core;
    getrlimit(RLIMIT_CORE, &core);
    core.rlim_cur = core.rlim_max;
    setrlimit(RLIMIT_CORE, &core);
    CHECK(chdir("scratch") == 0);
    char dir[] = "../d.XXXXXX";
    if (tracks)
        CHECK(mkdtemp(dir) == dir);
    fault();
}

// The first thread's general registers from the one core file in "scratch"; 0 when the machine keeps cores elsewhere.
static int registers(elf_gregset_t *out)
{
    char path[PATH_MAX] = "";
    DIR *d = opendir("scratch");
    CHECK(d);
    for (struct dirent *e; (e = readdir(d));)
        if (strncmp(e->d_name, "core", 4) == 0)
            snprintf(path, sizeof path, "scratch/%s", e->d_name);
    closedir(d);
    int fd = *path ? open(path, O_RDONLY) : -1;
    if (fd < 0)
        return 0;
    struct stat st;
    CHECK(fstat(fd, &st) == 0);
    char *core = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    CHECK(core != MAP_FAILED && memcmp(core, ELFMAG, SELFMAG) == 0);
    const Elf64_Ehdr *header = (void *)core;
    const Elf64_Phdr *segment = (void *)(core + header->e_phoff);
    while (segment->p_type != PT_NOTE)
        segment++;
    // The kernel writes NT_PRSTATUS of the faulting thread as the first note, named "CORE".
    const Elf64_Nhdr *note = (void *)(core + segment->p_offset);
    CHECK(note->n_type == NT_PRSTATUS);
    const struct elf_prstatus *status = (void *)((char *)(note + 1) + ((note->n_namesz + 3) & ~3u));
    memcpy(out, &status->pr_reg, sizeof *out);
    munmap(core, st.st_size);
    close(fd);
    CHECK(unlink(path) == 0);
    return 1;
}

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    CHECK(mkdir("scratch", 0755) == 0);
    elf_gregset_t with, without;
    int native = watch(play, NULL), have = registers(&without);
    int status = watch(play, "tracks");
    CHECKF(status == native && killed(status, SIGSEGV), "status %#x, not %#x", status, native);
    GONE(count_names(".", "") == 1);
    CHECK(registers(&with) == have);
    for (size_t r = 0; have && r < sizeof with / sizeof with[0]; r++)
        CHECKF(with[r] == without[r], "register %zu: %#llx, not %#llx", r, (long long)with[r], (long long)without[r]);
    CHECK(count_names("scratch", "") == 0 && rmdir("scratch") == 0);
    return 0;
}
