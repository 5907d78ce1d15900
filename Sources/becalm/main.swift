import Commands

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

let status = CommandLineProgram.main()
fflush(nil)
// Threads of ours may still be letting go of what they held. What libraries take down at `exit`, OpenSSL its memory above all,
// must not be taken from under them.
_exit(status)
