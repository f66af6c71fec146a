/* libtmpshim.so for the 32-bit loader. The library itself is for 64-bit programs; LD_PRELOAD is inherited by 32-bit children,
 * too, whose loader complains on their standard error about a library that it cannot load. With LD_PRELOAD=/usr/$LIB/... it
 * finds this one: no code, no libc, nothing hooked. */
static const char what_this_is[] __attribute__((used)) =
	"tmpshim: empty on purpose, so that 32-bit programs start without a complaint; the supervisor (tmpshim run) reaches them";
