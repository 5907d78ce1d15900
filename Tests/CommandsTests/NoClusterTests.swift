import Orchestration
import Testing

@Suite("Where no cluster is configured")
struct NoClusterTests {
    @Test("What is looked for in a namespace is an error; without one, that only this machine was looked at is said")
    func said() async throws {
        let world = try World()
        for words in [["status"], ["resume", "--expired"]] {
            let here = await world.plain(words)
            #expect(here.status == .done && here.out.contains("no cluster is configured"), "\(here)")
            for arguments in [["--namespace", "train"], ["--kubeconfig", world.path("none")], ["--context", "none"]] {
                let there = await world.plain(words + arguments)
                #expect(there.status != .done && !there.out.contains("held"), "\(arguments): \(there)")
                #expect(there.err.contains("kubeconfig") || there.err.contains("KUBECONFIG"), "\(there.err)")
            }
            let host = await world.plain(words + ["--host"])
            #expect(host.status == .done && !host.out.contains("no cluster"), "\(host)")
        }
    }
}
