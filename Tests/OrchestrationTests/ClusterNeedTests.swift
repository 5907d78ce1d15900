import FoundationEssentials
import Kubernetes
import Testing
import Workloads

@testable import Orchestration

@Suite("What is asked of a cluster")
struct ClusterNeedTests {
    /// One verb of one resource, as a rule grants it.
    private struct Right: Hashable, CustomStringConvertible {
        var group: String
        var resource: String
        var verb: String

        var description: String { "\(verb) \(resource).\(group)" }
    }

    private static func granted(_ kind: String) throws -> Set<Right> {
        let path =
            #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 }
            + "/plugin/examples/workload-role.yaml"
        let documents = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n---\n").map {
            try JSONValue(yaml: String($0))
        }
        let role = try #require(documents.first { $0["kind"]?.string == kind })
        func words(_ rule: JSONValue, _ key: String) -> [String] { (rule[.key(key)]?.array ?? []).compactMap(\.string) }
        var rights: Set<Right> = []
        for rule in role["rules"]?.array ?? [] {
            for group in words(rule, "apiGroups") {
                for resource in words(rule, "resources") {
                    for verb in words(rule, "verbs") {
                        rights.insert(Right(group: group, resource: resource, verb: verb))
                    }
                }
            }
        }
        return rights
    }

    private static func asked(_ isMeant: (ClusterNeed) -> Bool) -> Set<Right> {
        Set(
            ClusterNeed.all.filter(isMeant).flatMap { need in
                need.verbs.map {
                    Right(
                        group: need.kind.group,
                        resource: need.subresource.isEmpty
                            ? need.kind.resource : "\(need.kind.resource)/\(need.subresource)", verb: $0)
                }
            })
    }

    @Test("The example's Role grants what is asked for in a namespace, and nothing else")
    func role() throws {
        let granted = try Self.granted("Role")
        let asked = Self.asked { $0.kind.isNamespaced }
        let everyResource = Set(granted.filter { $0.resource == "*" }.map { [$0.group, $0.verb] })
        let missing = asked.filter { !granted.contains($0) && !everyResource.contains([$0.group, $0.verb]) }
        #expect(missing == [])
        let needless = granted.filter { right in
            right.resource == "*"
                ? !asked.contains { $0.group == right.group && $0.verb == right.verb } : !asked.contains(right)
        }
        #expect(needless == [])
    }

    @Test("Its ClusterRole grants what is the cluster's own, all of which can be done without")
    func clusterRole() throws {
        var granted = try Self.granted("ClusterRole")
        // Who may create a namespace looks at it, too; a Role of the namespace may grant that.
        granted.remove(Right(group: "", resource: "namespaces", verb: "get"))
        #expect(granted == Self.asked { !$0.kind.isNamespaced })
        for need in ClusterNeed.all where !need.kind.isNamespaced { #expect(!need.otherwise.isEmpty, "\(need.name)") }
    }
}
