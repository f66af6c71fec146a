// D5: the journal is bounded by what is alive: a million directories, made and removed one after the other with a few that
// stay, go through less than 64 KiB, in one file.
#include "victim.h"

#define STAY 20

int main(int argc, char **argv)
{
    CHECK(argc > 1 && chdir(argv[1]) == 0);
    const char *state = getenv("TMPSHIM_STATE_DIR");
    CHECK(state != NULL);
    char stay[STAY][16];
    for (int i = 0; i < STAY; i++) {
        strcpy(stay[i], "stay.XXXXXX");
        CHECK(mkdtemp(stay[i]) == stay[i]);
    }
    for (int i = 0; i < 1000000; i++) {
        char dir[] = "d.XXXXXX";
        CHECK(mkdtemp(dir) == dir && rmdir(dir) == 0);
    }
    CHECK(count_names(state, "") == 1);
    DIR *journals = opendir(state);
    for (struct dirent *e; (e = readdir(journals));) {
        struct stat st;
        if (e->d_name[0] == '.' && e->d_name[1] == 't') {
            CHECK(fstatat(dirfd(journals), e->d_name, &st, 0) == 0);
            CHECKF(st.st_size < 64 * 1024, "%lld bytes", (long long)st.st_size);
        }
    }
    closedir(journals);
    for (int i = 0; i < STAY; i++)
        CHECK(exists(stay[i]));
    return 0;
}
