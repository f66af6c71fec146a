// What the programs about settings share: a victim in a fresh image, with the settings in its environment, and what it
// says and leaves.
#ifndef SETTINGS_H
#define SETTINGS_H

#include "victim.h"

struct seen {
    int status;
    char errors[8192];     // what the image wrote to standard error
};

static struct seen run_with(const char *const *settings, const char *role)
{
    static struct seen seen;
    memset(&seen, 0, sizeof seen);
    int p[2];
    CHECK(pipe2(p, O_CLOEXEC) == 0);
    fflush(NULL);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK(dup2(p[1], 1) == 1 && dup2(p[1], 2) == 2);
        for (; *settings; settings++)
            putenv((char *)*settings);
        execl("/proc/self/exe", "victim", ".", role, (char *)NULL);
        CHECKF(0, "exec");
    }
    close(p[1]);
    size_t length = 0;
    for (ssize_t n; (n = read(p[0], seen.errors + length, sizeof seen.errors - 1 - length)) > 0;)
        length += n;
    close(p[0]);
    seen.status = ended(pid);
    return seen;
}

static struct seen run_with_one(const char *setting, const char *role)
{
    const char *settings[] = { setting, NULL };
    return run_with(setting ? settings : settings + 1, role);
}

static int lines_in(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static void scrub_all(void)
{
    DIR *d = opendir(".");
    CHECK(d);
    for (struct dirent *e; (e = readdir(d));)
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
            scrub(e->d_name);
    closedir(d);
}

#endif
