import Kubernetes
import Testing
import Workloads

@Suite("The weights of a route")
struct RouteDrainTests {
    private static let pool = PoolReference(group: "inference.networking.k8s.io", namespace: "ml", name: "pool")

    private static func route() throws -> KubernetesObject { try Fixtures.object(ModelServers.route) }

    private static func weights(_ route: KubernetesObject) -> [Int64?] {
        (route["spec", "rules"]?.array ?? []).flatMap { $0["backendRefs"]?.array ?? [] }.map { $0["weight"]?.int64 }
    }

    /// Applies `change` to the rules.
    private static func change(
        _ route: inout KubernetesObject, _ change: (inout [JSONValue]) throws -> Void
    ) throws {
        var rules = route["spec", "rules"]?.array ?? []
        try change(&rules)
        try route.set(.array(rules), at: ["spec", "rules"])
    }

    @Test("What was drained is opened to the very same bytes, however often either is done")
    func roundTrip() throws {
        var route = try Self.route()
        let before = route.serialized()
        for _ in 0..<3 { try RouteDrain.drain(&route, [Self.pool], holder: "ml/deployments.apps/a") }
        #expect(Self.weights(route) == [0, 1, 0, 0])
        #expect(RouteDrain.openPools(of: route).isEmpty)
        #expect(try RouteDrain(of: route)?.holders == ["ml/deployments.apps/a"])
        #expect(try RouteDrain.open(&route, for: "ml/deployments.apps/a", serves: false).isEmpty)
        #expect(route.serialized() == before)
        #expect(try RouteDrain.open(&route, for: "ml/deployments.apps/a", serves: true).isEmpty)
        #expect(route.serialized() == before)
        try RouteDrain.drain(&route, [Self.pool], holder: "x")
        try RouteDrain.openAll(&route)
        #expect(route.serialized() == before)
    }

    @Test("The first holder notes what the user wrote; it comes back with the last one, or with the first that serves")
    func holders() throws {
        var route = try Self.route()
        let before = route.serialized()
        for name in ["a", "b", "c"] { try RouteDrain.drain(&route, [Self.pool], holder: name) }
        #expect(try RouteDrain.open(&route, for: "b", serves: false).isEmpty)
        #expect(Self.weights(route) == [0, 1, 0, 0])
        #expect(try RouteDrain.open(&route, for: "stranger", serves: true).isEmpty)
        #expect(Self.weights(route) == [0, 1, 0, 0])
        var served = route
        #expect(try RouteDrain.open(&served, for: "a", serves: true).isEmpty)
        #expect(served.serialized() == before)
        // Whose journal is gone holds nothing.
        #expect(try RouteDrain.open(&route, for: "a", serves: false, gone: ["c"]).isEmpty)
        #expect(route.serialized() == before)
    }

    @Test("A rule is found again wherever it stands, and with other filters and backends beside")
    func moved() throws {
        var route = try Self.route()
        try RouteDrain.drain(&route, [Self.pool], holder: "a")
        try Self.change(&route) { rules in
            rules.swapAt(0, 1)
            let first = rules.removeLast()
            rules.insert(first, at: 0)
            var backends = rules[2]["backendRefs"]?.array ?? []
            backends.insert(["name": "new", "kind": "Service", "port": 1, "weight": 0], at: 0)
            try rules[2].set(.array(backends), at: ["backendRefs"])
            try rules[2].set(["request": "9s"], at: ["timeouts"])
        }
        #expect(try RouteDrain.open(&route, for: "a", serves: true).isEmpty)
        // The user's own 0, the one without a weight, and 3 behind the new one.
        #expect(Self.weights(route) == [0, nil, 0, 3, 1])
        #expect(route.annotations.isEmpty)
    }

    @Test("What somebody else has set meanwhile stays, and a rule that is gone is named")
    func changed() throws {
        var route = try Self.route()
        try RouteDrain.drain(&route, [Self.pool], holder: "a")
        try route.set(8, at: ["spec", "rules", 0, "backendRefs", 0, "weight"])
        try Self.change(&route) { $0.remove(at: 1) }
        let remarks = try RouteDrain.open(&route, for: "a", serves: true)
        #expect(remarks.count == 2 && remarks.allSatisfy { $0.contains("InferencePool ml/pool") })
        #expect(Self.weights(route) == [8, 1, 0])
        #expect(route.annotations.isEmpty)
    }

    @Test("A weight that somebody set while it was drained is what comes back after the next drain")
    func changedAndDrained() throws {
        var route = try Self.route()
        try RouteDrain.drain(&route, [Self.pool], holder: "a")
        try route.set(8, at: ["spec", "rules", 0, "backendRefs", 0, "weight"])
        try RouteDrain.drain(&route, [Self.pool], holder: "b")
        #expect(Self.weights(route) == [0, 1, 0, 0])
        try RouteDrain.openAll(&route)
        #expect(Self.weights(route) == [8, 1, nil, 0])
    }

    @Test("A rule whose matches were changed is found by its place, and by its name where it has one")
    func renamed() throws {
        var route = try Self.route()
        try route.set("named", at: ["spec", "rules", 1, "name"])
        try RouteDrain.drain(&route, [Self.pool], holder: "a")
        try Self.change(&route) { rules in
            try rules[0].set([["path": ["value": "/v3"]]], at: ["matches"])
            try rules[1].set([["path": ["value": "/v4"]]], at: ["matches"])
            rules.append(rules.remove(at: 1))
        }
        #expect(try RouteDrain.open(&route, for: "a", serves: true).isEmpty)
        #expect(Self.weights(route) == [3, 1, 0, nil])
    }

    @Test(
        "An annotation that cannot be read changes nothing and says what to do",
        arguments: ["", "{", "[]", #"{"version":2,"backends":[]}"#, #"{"version":1,"backends":[{}]}"#])
    func malformed(_ text: String) throws {
        var route = try Self.route()
        route.setAnnotation(BecalmAnnotation.drained, text)
        let before = route
        let error = #expect(throws: WorkloadError.self) {
            try RouteDrain.open(&route, for: "a", serves: true)
        }
        #expect(error?.message.contains("HTTPRoute ml/chat") == true && error?.message.contains("\n") == false)
        #expect(throws: WorkloadError.self) { try RouteDrain.drain(&route, [Self.pool], holder: "a") }
        #expect(route == before)
    }
}
