import Commands

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

exit(CommandLineProgram.main())
