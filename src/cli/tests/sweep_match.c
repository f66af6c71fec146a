/* Uses a directory in one way, says "ready", and goes on until its standard input ends.
   usage: sweep_match HOW PATH [OTHER] */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static const char *path, *other;

static void check(int answer, const char *what) {
    if (answer < 0) { perror(what); exit(1); }
}

static const char *joined(const char *directory, const char *rest) {
    char *text;
    check(asprintf(&text, "%s/%s", directory, rest), "asprintf");
    return text;
}

static void ready(void) {
    puts("ready");
    fflush(stdout);
    char byte;
    while (read(0, &byte, 1) > 0) { }
}

static void *thread_directory(void *unused) {
    check(unshare(CLONE_FS), "unshare");
    check(chdir(path), path);
    ready();
    _exit(0);
    return unused;
}

static void *thread_files(void *unused) {
    check(unshare(CLONE_FILES), "unshare");
    check(open(path, O_RDONLY | O_DIRECTORY), path);
    ready();
    _exit(0);
    return unused;
}

static void *thread_waits(void *unused) {
    ready();
    _exit(0);
    return unused;
}

static void in_thread(void *(*run)(void *)) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, NULL)) exit(1);
    pthread_join(thread, NULL);
}

static void bind_to(const char *name) {
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    strncpy(address.sun_path, name, sizeof address.sun_path - 1);
    check(bind(fd, (struct sockaddr *)&address, sizeof address), name);
}

static void private_mounts(void) {
    check(unshare(CLONE_NEWNS), "unshare");
    check(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), "/");
}

int main(int count, char **arguments) {
    const char *how = arguments[1];
    path = arguments[2];
    other = count > 3 ? arguments[3] : "";
    if (!strcmp(how, "waits")) {
    } else if (!strcmp(how, "cwd")) {
        check(chdir(path), path);
    } else if (!strcmp(how, "root")) {
        int fd = open("/", O_RDONLY);
        check(chroot(path), path);
        check(fchdir(fd), "/");
        close(fd);
    } else if (!strcmp(how, "open")) {
        check(open(path, O_RDONLY), path);
    } else if (!strcmp(how, "flock")) {
        int fd = open(path, O_RDONLY);
        check(flock(fd, LOCK_SH), path);
    } else if (!strcmp(how, "mapped")) {
        int fd = open(path, O_RDONLY);
        check(fd, path);
        if (mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED) return 1;
        close(fd);
    } else if (!strcmp(how, "thread-cwd")) {
        in_thread(thread_directory);
    } else if (!strcmp(how, "thread-open")) {
        in_thread(thread_files);
    } else if (!strcmp(how, "thread-alone")) {
        /* The first thread ends: the process's own links in /proc are empty from then on. */
        pthread_t thread;
        check(chdir(path), path);
        if (pthread_create(&thread, NULL, thread_waits, NULL)) return 1;
        syscall(SYS_exit, 0);
    } else if (!strcmp(how, "bound")) {
        bind_to(path);
    } else if (!strcmp(how, "bound-here")) {
        check(chdir(path), path);
        bind_to("agent");
        check(chdir("/"), "/");
    } else if (!strcmp(how, "elsewhere-open") || !strcmp(how, "elsewhere-cwd") || !strcmp(how, "elsewhere-mapped")) {
        /* `path` is the directory above, seen in a namespace of its own at `other` only. */
        private_mounts();
        check(mount(path, other, NULL, MS_BIND, NULL), path);
        check(mount("none", path, "tmpfs", 0, NULL), path);
        const char *directory = joined(other, "leak-used/deep");
        const char *file = joined(directory, "file");
        if (!strcmp(how, "elsewhere-cwd")) {
            check(chdir(directory), directory);
        } else {
            int fd = open(file, O_RDONLY);
            check(fd, file);
            if (!strcmp(how, "elsewhere-mapped")) {
                if (mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED) return 1;
                close(fd);
            }
        }
    } else if (!strcmp(how, "elsewhere-mount")) {
        private_mounts();
        check(mount("none", path, "tmpfs", 0, NULL), path);
    } else if (!strcmp(how, "elsewhere-source")) {
        private_mounts();
        check(mount(path, other, NULL, MS_BIND, NULL), path);
    } else if (!strcmp(how, "overlay")) {
        private_mounts();
        char options[8192];
        snprintf(options, sizeof options, "lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work", path, path, path);
        check(mount("none", other, "overlay", 0, options), options);
    } else {
        fprintf(stderr, "%s: not known\n", how);
        return 1;
    }
    ready();
    return 0;
}
