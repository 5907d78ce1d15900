import Commands

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

SignalWatch.prepare()
exit(await CommandLineProgram.main())
