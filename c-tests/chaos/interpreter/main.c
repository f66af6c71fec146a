// Reads the script, and does what has to do with processes and threads.
#include "interpreter.h"

struct board *board;
const char *arena;
jmp_buf back_to_main;

static struct operation operations[OPERATIONS];
static int count;
static char **arguments;
static pthread_t threads[LISTS];
static pid_t parent, self;
// A vfork child has its parent's memory, but descriptors of its own.
static int own_files[FILES], vfork_files[FILES];

static void run(int list);

int *file_of(int file)
{
    return (syscall(SYS_getpid) == self ? own_files : vfork_files) + file;
}

void report(const struct operation *o, const char *format, ...)
{
    uint32_t place = atomic_fetch_add(&board->reports, 1);
    if (place >= REPORTS)
        return;
    char text[REPORT - 32];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    snprintf(board->report[place], REPORT, "%d %s", o->line, text);
}

long number(const struct operation *o, int argument)
{
    return argument < o->count ? strtol(o->argument[argument], NULL, 0) : 0;
}

const char *path(const struct operation *o, int argument, char room[PATH_MAX])
{
    char *to = room, *end = room + PATH_MAX - 32;
    for (const char *from = argument < o->count ? o->argument[argument] : ""; *from && to < end;) {
        if (*from == '@') {
            to = stpcpy(to, arena);
            from++;
        } else if (*from == '%') {
            long slot = strtol(from + 1, (char **)&from, 10);
            to = stpcpy(to, board->name[slot][0] ? board->name[slot] : "never-made");
        } else
            *to++ = *from++;
    }
    *to = 0;
    return room;
}

static void nap(long microseconds)
{
    struct timespec time = { microseconds / 1000000, microseconds % 1000000 * 1000 };
    nanosleep(&time, NULL);
}

static void nothing(int sig) { (void)sig; }

static void dispose(const struct operation *o)
{
    struct sigaction action = { .sa_flags = SA_RESTART };
    action.sa_handler = number(o, 1) == 0 ? SIG_DFL : number(o, 1) == 1 ? SIG_IGN : nothing;
    if (sigaction(number(o, 0), &action, NULL))
        report(o, "%s", strerror(errno));
}

// A timer's signals from here on, every so many microseconds; 0: no more.
static void storm(long microseconds)
{
    struct sigaction action = { .sa_handler = nothing, .sa_flags = SA_RESTART };
    struct itimerval often = { { 0, microseconds }, { 0, microseconds } };
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
}

static pid_t pid_of(int list)
{
    return atomic_load(&board->pid[list]);
}

// Another image, which is told where the descriptors are that it is given.
static void become(const struct operation *o)
{
    static char list[16], given[FILES][16];
    static char *next[5 + ARGUMENTS + 1];
    int n = 5;
    memcpy(next, arguments, 4 * sizeof *next);
    snprintf(list, sizeof list, "%ld", number(o, 0));
    next[4] = list;
    for (int i = 1; i < o->count; i++, n++) {
        snprintf(given[i], sizeof given[i], "%ld=%d", number(o, i), *file_of(number(o, i)));
        next[n] = given[i];
    }
    next[n] = NULL;
    execv("/proc/self/exe", next);
    _exit(98);
}

// As a well-behaved child: what was not handed over is closed.
static void keep(const struct operation *o)
{
    for (int f = 0; f < FILES; f++) {
        int kept = 0;
        for (int i = 1; i < o->count; i++)
            kept |= number(o, i) == f;
        if (!kept && own_files[f] >= 0) {
            close(own_files[f]);
            own_files[f] = -1;
        }
    }
}

static void let_go(const struct operation *o)
{
    for (int i = 1; i < o->count; i++) {
        close(*file_of(number(o, i)));
        *file_of(number(o, i)) = -1;
    }
}

// fork CHILD FILES…
static void start(const struct operation *o, int is_spawn)
{
    int child = number(o, 0);
    pid_t me = syscall(SYS_getpid), pid = fork();
    if (pid < 0) {
        report(o, "%s", strerror(errno));
        return;
    }
    if (pid == 0) {
        parent = me;
        self = syscall(SYS_getpid);
        atomic_store(&board->parent[child], me);
        atomic_store(&board->pid[child], syscall(SYS_getpid));
        keep(o);
        if (is_spawn)
            become(o);
        run(child);
        _exit(97);
    }
    atomic_store(&board->pid[child], pid);
    let_go(o);
}

static void start_by_vfork(const struct operation *o)
{
    int child = number(o, 0);
    pid_t pid = vfork();
    if (pid == 0) {
        run(child);
        _exit(97);
    }
    if (pid < 0)
        report(o, "%s", strerror(errno));
    atomic_store(&board->pid[child], pid);
}

// wait CHILD STATUS: 1000 and more: a signal's number.
static void wait_for(const struct operation *o)
{
    int status;
    while (waitpid(pid_of(number(o, 0)), &status, 0) < 0)
        if (errno != EINTR) {
            report(o, "%s", strerror(errno));
            return;
        }
    int got = WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
    // Whoever is killed at any time may have ended before.
    if (got != number(o, 1) && !(o->count > 2 && got == number(o, 2)))
        report(o, "status %d", got);
}

static void *in_thread(void *list)
{
    run((int)(intptr_t)list);
    return NULL;
}

static int processes(const struct operation *o)
{
    if (IS("fork"))
        start(o, 0);
    else if (IS("spawn"))
        start(o, 1);
    else if (IS("vfork"))
        start_by_vfork(o);
    else if (IS("exec")) {
        storm(0);
        become(o);
    } else if (IS("thread"))
        return pthread_create(&threads[number(o, 0)], NULL, in_thread, (void *)(intptr_t)number(o, 0));
    else if (IS("join"))
        return pthread_join(threads[number(o, 0)], NULL);
    else if (IS("wait"))
        wait_for(o);
    else if (IS("killat")) {
        // At any moment from now.
        for (volatile long i = number(o, 1); i > 0; i--)
            ;
        kill(pid_of(number(o, 0)), SIGKILL);
    } else if (IS("kill")) {
        while (!atomic_load(&board->parked[number(o, 0)]))
            nap(50);
        kill(pid_of(number(o, 0)), number(o, 1));
    } else if (IS("park")) {
        atomic_store(&board->parked[o->list], 1);
        for (int i = 0; i < 3000; i++)
            nap(10000);
        report(o, "nobody came to kill it");
    } else if (IS("orphaned"))
        for (int i = 0; getppid() == parent; i++) {
            if (i == 300000)
                return ETIMEDOUT;
            nap(100);
        }
    else if (IS("signal"))
        dispose(o);
    else if (IS("raise"))
        raise(number(o, 0));
    else if (IS("storm"))
        storm(number(o, 0));
    else if (IS("gone")) {
        char room[PATH_MAX];
        struct stat st;
        return lstat(path(o, 0, room), &st) ? errno : 0;
    } else if (IS("end"))
        end(o);
    else
        report(o, "unknown verb");
    return 0;
}

static void run(int list)
{
    for (int i = 0; i < count; i++) {
        const struct operation *o = &operations[i];
        if (o->list != list)
            continue;
        atomic_fetch_add(&board->done, 1);
        int answer = call(o);
        if (answer == -1)
            answer = processes(o);
        // -2: whatever it is.
        if (answer != o->expected && o->expected != -2)
            report(o, "%s", answer ? strerror(answer) : "it worked");
    }
}

static void read_script(const char *name)
{
    FILE *file = fopen(name, "re");
    char *line = NULL;
    size_t room = 0;
    while (file && count < OPERATIONS && getline(&line, &room, file) > 0) {
        struct operation *o = &operations[count];
        char *rest = strdup(line), *word;
        o->line = count++;
        o->list = atoi(strsep(&rest, " \n"));
        o->expected = atoi(strsep(&rest, " \n"));
        o->verb = strsep(&rest, " \n");
        while (o->count < ARGUMENTS && (word = strsep(&rest, " \n")) && *word)
            o->argument[o->count++] = word;
    }
    free(line);
    if (!file)
        _exit(96);
    fclose(file);
}

int main(int argc, char **argv)
{
    if (argc < 5)
        return 95;
    int fd = open(argv[2], O_RDWR | O_CLOEXEC);
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd < 0 || board == MAP_FAILED)
        return 94;
    close(fd);
    arguments = argv;
    arena = argv[3];
    self = getpid();
    read_script(argv[1]);
    int list = atoi(argv[4]);
    memset(own_files, -1, sizeof own_files);
    for (int i = 5; i < argc; i++) {
        char *number = strchr(argv[i], '=');
        own_files[atoi(argv[i]) & (FILES - 1)] = atoi(number + 1);
    }
    atomic_store(&board->pid[list], getpid());
    parent = atomic_load(&board->parent[list]);
    int code = setjmp(back_to_main);
    if (code)
        return code - 1;
    run(list);
    return 93;
}
