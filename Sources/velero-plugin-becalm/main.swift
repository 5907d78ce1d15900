import VeleroPlugin

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

let status = PluginProgram.main()
fflush(nil)
// Threads of libraries may still be running: nothing is taken down under them.
_exit(status)
