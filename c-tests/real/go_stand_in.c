// Stands in for `tmpshim` beside the library, for go.sh: writes its arguments to the file that STAND_IN names, each closed
// by NUL, and does what `tmpshim run --best-effort --arg0 NAME -- PROGRAM ARGUMENTS` does where it can have no supervisor:
// it executes the program with TMPSHIM_REEXEC=off.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int count, char **arguments)
{
    const char *path = getenv("STAND_IN");
    FILE *file = path ? fopen(path, "ae") : NULL;
    if (!file)
        return 99;
    for (int i = 0; i < count; i++)
        fwrite(arguments[i], 1, strlen(arguments[i]) + 1, file);
    if (fclose(file) != 0 || count < 7 || setenv("TMPSHIM_REEXEC", "off", 1) != 0)
        return 98;
    const char *program = arguments[6];
    arguments[6] = arguments[4];
    execv(program, arguments + 6);
    return 97;
}
