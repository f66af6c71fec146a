#!/usr/bin/env bash
# ruby: File.open with File::TMPFILE, IO's re-open, Tempfile, Dir.mktmpdir, and its timer thread and signal handlers in
# between. T1, T3, D4, D7.
# shellcheck source=common.sh
. "$(dirname -- "$0")/common.sh"
need ruby

cat >"$scratch/tmpfile.rb" <<'RUBY'
file = File.open(".", File::RDWR | File::TMPFILE, 0640)
RUBY
control "ruby's File::TMPFILE" ruby "$scratch/tmpfile.rb"
cat >>"$scratch/tmpfile.rb" <<'RUBY'
def check(what, good) = good || abort(what)
check "mode", file.stat.mode & 0o7777 == (ENV["NAMES_STAY"].to_s.empty? ? 0o640 : 0o600)
check "close on exec", file.close_on_exec?
file.write("abc\n" * 1000)
file.flush
check "size", file.size == 4000
again = File.open("/proc/self/fd/#{file.fileno}", "r")
check "the re-opened file", again.read == "abc\n" * 1000
file.reopen("/proc/self/fd/#{file.fileno}", "r+")
check "IO#reopen", file.gets == "abc\n"
pid = fork { File.open("/proc/self/fd/#{file.fileno}", "r+") { |f| f.write("xyz") }; exit!(0) }
Process.wait(pid)
check "child", $?.success? && again.tap(&:rewind).read(4) == "xyz\n"
[File::RDONLY, File::RDONLY | File::APPEND].each do |flags|
  File.open(".", flags | File::TMPFILE)
  abort "read-only TMPFILE was not refused"
rescue Errno::EINVAL
end
begin
  File.open("nothing", File::RDWR | File::TMPFILE)
  abort "no directory was not refused"
rescue Errno::ENOENT
end
10.times.map { |i| Thread.new { 50.times { File.open(".", File::RDWR | File::TMPFILE) { |f| f.write(i.to_s); f.rewind; check "thread", f.read == i.to_s } } } }.each(&:join)
puts "fine"
RUBY
succeeds "ruby with File::TMPFILE" with ruby "$scratch/tmpfile.rb"
equal "what ruby says" fine "$(cat "$scratch/out" "$scratch/err")"
assert_empty "after ruby with File::TMPFILE"

same "ruby's Tempfile and mktmpdir" ruby -rtempfile -rtmpdir -e '
Tempfile.create("x", ".") { |f| f.write("abc"); f.rewind; print f.read, "\n" }
t = Tempfile.new("y", "."); t.write("abc"); t.close; puts File.size(t.path); t.unlink
Dir.mktmpdir("z", ".") { |d| File.write(File.join(d, "file"), "abc"); puts Dir.children(d) }'
assert_empty "after ruby's Tempfile and mktmpdir"

# libc's mkdtemp, called by a program full of threads and handlers of its own: ruby handles TERM, INT and HUP itself and
# sends them to itself again with the default disposition.
cat >"$scratch/mkdtemp.rb" <<'RUBY'
require "fiddle"
mkdtemp = Fiddle::Function.new(Fiddle::Handle::DEFAULT["mkdtemp"], [Fiddle::TYPE_VOIDP], Fiddle::TYPE_VOIDP)
template = Fiddle::Pointer.malloc(64)
template[0, 12] = "made.XXXXXX\0"
made = mkdtemp.call(template).to_s
abort "not made" unless File.directory?(made)
File.write("#{made}/file", "text")
Thread.new { sleep }
at_exit { puts "at_exit sees #{File.exist?("#{made}/file")}" }
puts made
$stdout.flush
ARGV[0] == "return" or sleep
RUBY
if without ruby -rfiddle -e 'Fiddle::Handle::DEFAULT["mkdtemp"]' 2>"$scratch/err"; then
    for how in "return none|exit 0" "sleep TERM|signal 15" "sleep INT|signal 2" "sleep HUP|signal 1" "sleep USR2|signal 12" "sleep KILL|signal 9"; do
        read -r what signal <<<"${how%|*}"
        equal "ruby, mkdtemp, $what $signal: how it ends" "${how#*|}" \
            "$(end_of "$signal" ruby "$scratch/mkdtemp.rb" "$what" 2>"$scratch/err")"
        grep -q '^made\.' "$scratch/first" || fail "ruby, mkdtemp, $what $signal: $(cat "$scratch/err")"
        if [ "$signal" = KILL ]; then
            sweep
        fi
        assert_empty "after ruby, mkdtemp, $what $signal"
    done
fi
finish
