#!/usr/bin/env bash
# perl: sysopen with O_TMPFILE (open64), publishing through /proc/self/fd with its syscall function, re-opening, locks,
# fork, IO::Handle; File::Temp's directory, made with mkdir. T1, T2, T3, T7, D1.
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
need perl

cat >"$scratch/tmpfile.pl" <<'PERL'
use strict; use warnings; use Fcntl qw(:DEFAULT :flock :mode :seek); use POSIX ();
sysopen(my $f, ".", 020000000 | O_DIRECTORY | O_RDWR, 0640) or die "sysopen: $!\n";
PERL
control "perl's sysopen with O_TMPFILE" perl "$scratch/tmpfile.pl"

cat >>"$scratch/tmpfile.pl" <<'PERL'
sub check { my ($what, $good) = @_; die "$what\n" unless $good }
umask 027;
sysopen(my $m, ".", 020000000 | O_DIRECTORY | O_RDWR, 0666) or die "sysopen: $!\n";
my @st = stat($m);
check sprintf("mode is %o", S_IMODE($st[2])), S_IMODE($st[2]) == ($ENV{NAMES_STAY} ? 0600 : 0640);
check "owner is $st[4]", $st[4] == $>;
check "is a regular file", S_ISREG($st[2]);
check "descriptor is not the lowest free one", do {
    my $low = POSIX::dup(0); POSIX::close($low);
    sysopen(my $g, ".", 020000000 | O_DIRECTORY | O_RDWR, 0600) or die "sysopen: $!\n";
    fileno($g) == $low;
};
my $link = readlink("/proc/self/fd/" . fileno($m));
# Where a re-open needs a name, there is one until the file is closed (T6).
check "/proc/self/fd reads '$link'", $link =~ / \(deleted\)$/ || $ENV{NAMES_STAY};

syswrite($f, "line one\nline two\n") == 18 or die "write: $!\n";
# Clair's way: the same file again through /proc, for reading.
sysopen(my $again, "/proc/self/fd/" . fileno($f), O_RDONLY) or die "re-open through /proc/self/fd: $!\n";
sysread($again, my $text, 100) == 18 or die "read of the re-opened file: $!\n";
check "the re-opened file reads '$text'", $text eq "line one\nline two\n";
flock($f, LOCK_EX | LOCK_NB) or die "flock: $!\n";
check "a second lock on the re-opened file was granted", !flock($again, LOCK_EX | LOCK_NB);

my $pid = fork() // die;
if (!$pid) { sysseek($f, 0, SEEK_END); syswrite($f, "from a child\n"); POSIX::_exit(0) }
waitpid($pid, 0);
check "size after the child's write", -s $f == 31;
truncate($f, 4) or die "truncate: $!\n";
check "size after truncate", (stat $f)[7] == 4;
chmod(0604, $f) or die "chmod: $!\n";
check "mode after chmod", S_IMODE((stat $f)[2]) == 0604;

# Append: every write goes to the end, wherever the descriptor is.
sysopen(my $a, ".", 020000000 | O_DIRECTORY | O_RDWR | O_APPEND, 0600) or die "sysopen: $!\n";
syswrite($a, "12345"); sysseek($a, 0, SEEK_SET); syswrite($a, "6789");
sysseek($a, 0, SEEK_SET); sysread($a, $text, 100);
check "O_APPEND wrote '$text'", $text eq "123456789";
# Write only.
sysopen(my $w, ".", 020000000 | O_DIRECTORY | O_WRONLY, 0600) or die "sysopen: $!\n";
syswrite($w, "x") or die "write: $!\n";
{ no warnings "io"; check "a write-only file can be read", !defined sysread($w, $text, 1) }
# Exec keeps it: no close-on-exec was asked for... perl sets it on its own descriptors above $^F.
check "through exec", do {
    local $^F = 1000;
    sysopen(my $e, ".", 020000000 | O_DIRECTORY | O_RDWR, 0600) or die "sysopen: $!\n";
    syswrite($e, "kept"); sysseek($e, 0, SEEK_SET);
    my $fd = fileno($e);
    `cat <&$fd` eq "kept";
};
# 200 at once.
my @many = map { sysopen(my $g, ".", 020000000 | O_DIRECTORY | O_RDWR, 0600) or die "sysopen $_: $!\n"; $g } 1 .. 200;
syswrite($many[$_], "file $_") for 0 .. 199;
for (0 .. 199) { sysseek($many[$_], 0, SEEK_SET); sysread($many[$_], $text, 100); check "file $_ reads '$text'", $text eq "file $_" }
# What is invalid stays invalid.
check "read-only O_TMPFILE", !sysopen(my $r, ".", 020000000 | O_DIRECTORY | O_RDONLY) && $!{EINVAL};
check "no directory", !sysopen($r, "nothing", 020000000 | O_DIRECTORY | O_RDWR, 0600) && $!{ENOENT};
check "a file", !sysopen($r, $0, 020000000 | O_DIRECTORY | O_RDWR, 0600) && $!{ENOTDIR};
print "fine\n";
PERL
succeeds "perl with O_TMPFILE" with perl "$scratch/tmpfile.pl"
equal "what perl says" fine "$(cat "$scratch/out" "$scratch/err")"
assert_empty "after perl with O_TMPFILE"

cat >"$scratch/publish.pl" <<'PERL'
use strict; use warnings; use Fcntl; use POSIX ();
my %linkat = (x86_64 => 265, aarch64 => 37);
my $nr = $linkat{(POSIX::uname())[4]} or die "linkat's number is not known here\n";
my ($how, $to, $excl) = @ARGV;
sysopen(my $f, ".", 020000000 | O_DIRECTORY | O_RDWR | ($excl ? O_EXCL : 0), 0644) or die "sysopen: $!\n";
syswrite($f, "before ");
my $fd = fileno($f);
my $dir = -100;
my $from = { self => "/proc/self/fd/$fd", thread => "/proc/thread-self/fd/$fd", dev => "/dev/fd/$fd",
             pid => "/proc/$$/fd/$fd", relative => "$fd" }->{$how};
if ($how eq "relative") {
    sysopen(my $d, "/proc/self/fd", O_RDONLY | O_DIRECTORY) or die "/proc/self/fd: $!\n";
    $dir = POSIX::dup(fileno $d);
}
syscall($nr, $dir, $from, -100, $to, 0x400) == 0 or die "linkat: $!\n";
syswrite($f, "after");
sysseek($f, 0, 0);
sysread($f, my $text, 100);
die "the descriptor reads '$text'\n" unless $text eq "before after";
PERL
for how in self thread dev pid relative; do
    succeeds "publish by $how" with perl "$scratch/publish.pl" $how published
    equal "what was published by $how" "before after" "$(cat published)"
    equal "mode of what was published by $how" 644 "$(stat -c %a published)"
    refused "publish by $how onto an existing name" "File exists" with perl "$scratch/publish.pl" $how published
    equal "the existing file" "before after" "$(cat published)"
    rm published
    refused "publish by $how of a file opened with O_EXCL" "No such file or directory" \
        with perl "$scratch/publish.pl" $how published excl
    assert_empty "after publish by $how"
done

# File::Temp and IO::File's anonymous files have their own ways: the same with and without.
same "File::Temp" perl -MFile::Temp -e '
    my $f = File::Temp->new(DIR => ".", UNLINK => 1); print $f "text"; $f->flush; print -s "$f", "\n"; undef $f;
    my $t = File::Temp::tempfile(DIR => "."); print $t "text"; close $t; print "ok\n"'
assert_empty "after File::Temp"
same "an anonymous file" env TMPDIR=. perl -e 'open(my $f, "+>", undef) or die $!; print $f "abc"; seek $f, 0, 0; print <$f>, "\n"'
assert_empty "after perl's anonymous file"

# tempdir is a mkdir: kept by perl unless CLEANUP is asked for, so kept here, and tracked only if TMPSHIM_TRACK says so.
made=$(with perl -MFile::Temp=tempdir -e 'print tempdir("perl.XXXXXX", DIR => ".")')
exists "$made" "a directory of File::Temp's, which nobody asked us to track,"
rmdir "$made"
made=$(TMPSHIM_TRACK="$directory/perl.*" with perl -MFile::Temp=tempdir -e '
    my $d = tempdir("perl.XXXXXX", DIR => "."); open(my $f, ">", "$d/file"); print $d')
gone "$made" "a directory of File::Temp's that TMPSHIM_TRACK names"
finish
