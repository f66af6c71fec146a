/* What the tests on musl and AddressSanitizer compile: opens with O_TMPFILE, makes a directory with mkdtemp, leaves it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void die(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static void *in_a_thread(void *file)
{
    int fd = open(".", O_TMPFILE | O_RDWR, 0600);
    if (fd < 0)
        die("open in a thread");
    free(malloc(1000));
    close(fd);
    return file;
}

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "return";
    int fd = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0640);
    if (fd < 0)
        die("open");
    struct stat st;
    const char *names_stay = getenv("NAMES_STAY");
    mode_t mode = names_stay && *names_stay ? 0600 : 0640;
    if (write(fd, "text", 4) != 4 || fstat(fd, &st) || st.st_size != 4 || (st.st_mode & 07777) != mode)
        die("write and fstat");
    char path[64], text[16] = "";
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int again = open(path, O_RDONLY);
    if (again < 0 || read(again, text, sizeof text) != 4 || strcmp(text, "text"))
        die("re-open");
    if (linkat(AT_FDCWD, path, AT_FDCWD, "published", AT_SYMLINK_FOLLOW) || write(fd, " and more", 9) != 9)
        die("linkat");
    if (linkat(AT_FDCWD, path, AT_FDCWD, "published", AT_SYMLINK_FOLLOW) != -1 || errno != EEXIST)
        die("a second linkat");
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        if (pthread_create(&threads[i], NULL, in_a_thread, NULL))
            die("pthread_create");
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);

    char made[] = "made.XXXXXX", not_a_template[] = "made";
    if (mkdtemp(not_a_template) || errno != EINVAL)
        die("mkdtemp of no template");
    if (!mkdtemp(made))
        die("mkdtemp");
    snprintf(path, sizeof path, "%s/file", made);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    printf("%s\n", made);
    fflush(stdout);
    if (!strcmp(how, "sleep"))
        for (;;)
            pause();
    if (!strcmp(how, "exit"))
        exit(5);
    if (!strcmp(how, "_exit"))
        _exit(6);
    if (!strcmp(how, "abort"))
        abort();
    if (!strcmp(how, "crash"))
        *(volatile char *)(how - how) = 1;
    return 0;
}
