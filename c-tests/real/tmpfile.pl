# Opens with O_TMPFILE in the directory that is named, writes, and opens the file again.
use strict; use Fcntl;
sysopen(my $f, $ARGV[0], 020000000 | O_DIRECTORY | O_RDWR, 0600) or die "sysopen: $!\n";
syswrite($f, "text") == 4 or die "write: $!\n";
sysopen(my $again, "/proc/self/fd/" . fileno($f), O_RDONLY) or die "re-open: $!\n";
sysread($again, my $text, 10) == 4 or die "read: $!\n";
print "fine\n";
