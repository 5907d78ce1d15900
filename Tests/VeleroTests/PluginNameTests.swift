import Testing
import Velero

@Suite struct PluginNameTests {
    /// What keeps Velero's server from starting: reference of its registry, `<domain>/<name>` with a DNS-1123 domain.
    @Test(arguments: PluginName.allCases)
    func aNameIsADomainASlashAndALabelKeysName(_ plugin: PluginName) {
        let parts = plugin.rawValue.split(separator: "/", omittingEmptySubsequences: false)
        #expect(parts.count == 2)
        #expect(parts[0] == "becalm.io")
        let name = parts[1]
        #expect((1...63).contains(name.utf8.count))
        #expect(name.allSatisfy { $0.isASCII && ($0.isLowercase || $0.isNumber || $0 == "-") })
        #expect(name.first != "-" && name.last != "-")
    }

    @Test func everyKindIsServed() {
        #expect(Set(PluginName.allCases.map(\.kind)) == Set(PluginKind.allCases))
    }
}
