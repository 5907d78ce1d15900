package import Kubernetes

/// The weights of a route's backends that were set to 0 so that nothing more is sent there, with what they were and for
/// which workloads: an annotation on the route itself, so that anyone can put them back, by hand if need be.
///
/// Several workloads may serve one pool: who drains a route first notes what its user wrote, whoever comes next adds its name
/// only, and the weight comes back when one of them serves again or the last of them is let go. Rules have no names of their
/// own in most routes, so each weight is found again by its rule's matches, wherever that stands by then.
///
/// The annotation is JSON, `{"backends":[{"backend":0,"holders":["ml/deployments.apps/decode"],"matches":"…","pool":{…},
/// "rule":0,"rules":2,"was":1}],"version":1}`; `was` is missing where there was no weight, which means 1.
package struct RouteDrain: Equatable, Sendable {
    /// One weight.
    struct Backend: Equatable, Sendable {
        var pool: PoolReference
        /// Where it was among the rules, and among the rule's backends.
        var rule: Int
        var backend: Int
        /// How many rules there were.
        var rules: Int
        /// The rule's name, where it has one.
        var ruleName: String?
        /// A hash of what the rule matches.
        var matches: String
        /// Nil when there was none.
        var was: JSONValue?
        /// For whom it is 0: `ml/deployments.apps/decode`.
        var holders: [String]
    }

    private(set) var backends: [Backend]

    /// Bytes of the annotation at most; the API takes 256 KiB of annotations in all, and 16 rules with 16 backends each.
    private static let maximumBytes = 96 << 10
    private static let version: Int64 = 1

    // MARK: The annotation

    /// What a route's annotation says; nil when there is none. Throws when it cannot be read, with what to do.
    package init?(of route: KubernetesObject) throws(WorkloadError) {
        guard let text = route.annotations[BecalmAnnotation.drained] else { return nil }
        let malformed = WorkloadError(
            "\(route.label): the annotation \(BecalmAnnotation.drained) cannot be read; put the weights back by hand and "
                + "remove it")
        guard let json = try? JSONValue(parsing: text, limits: .init(maximumBytes: Self.maximumBytes)),
            let version = json["version"]?.int64, let elements = json["backends"]?.array
        else { throw malformed }
        guard version == Self.version else {
            throw WorkloadError(
                "\(route.label): the annotation \(BecalmAnnotation.drained) was written by another version of Becalm; "
                    + "use that version")
        }
        backends = []
        for element in elements {
            guard let pool = element["pool"].flatMap({ PoolReference($0) }), let rule = element["rule"]?.int64,
                let backend = element["backend"]?.int64, let matches = element["matches"]?.string,
                let holders = element["holders"]?.array?.compactMap(\.string), !holders.isEmpty,
                (0...4096).contains(rule), (0...4096).contains(backend), let rules = element["rules"]?.int64,
                (0...4096).contains(rules)
            else { throw malformed }
            backends.append(
                Backend(
                    pool: pool, rule: Int(rule), backend: Int(backend), rules: Int(rules),
                    ruleName: element["name"]?.string, matches: matches, was: element["was"], holders: holders))
        }
    }

    private init() { backends = [] }

    /// The annotation's value.
    private var text: String {
        let elements: [JSONValue] = backends.map { backend in
            var object = JSONObject()
            object["backend"] = .integer(backend.backend)
            object["holders"] = .array(backend.holders.map { .string($0) })
            object["matches"] = .string(backend.matches)
            if let name = backend.ruleName { object["name"] = .string(name) }
            object["pool"] = backend.pool.json
            object["rule"] = .integer(backend.rule)
            object["rules"] = .integer(backend.rules)
            if let was = backend.was { object["was"] = was }
            return .object(object)
        }
        let json: JSONValue = ["backends": .array(elements), "version": .integer(Self.version)]
        return String(decoding: json.serialized(escapingHTML: false), as: UTF8.self)
    }

    private func write(to route: inout KubernetesObject) throws(WorkloadError) {
        guard !backends.isEmpty else { return route.removeAnnotation(BecalmAnnotation.drained) }
        let text = text
        guard text.utf8.count <= Self.maximumBytes else {
            throw WorkloadError("\(route.label) has too many backends to be drained")
        }
        route.setAnnotation(BecalmAnnotation.drained, text)
    }

    /// The pools whose weights were set to 0.
    var pools: Set<PoolReference> { Set(backends.map(\.pool)) }

    /// For whom weights of the route are 0.
    package var holders: Set<String> { Set(backends.flatMap(\.holders)) }

    // MARK: The route

    /// A backend of a route that is a pool.
    private struct Place: Hashable {
        var rule: Int
        var backend: Int

        var path: JSONPath { ["spec", "rules", .index(rule), "backendRefs", .index(backend)] }
        var weight: JSONPath { path.appending("weight") }
    }

    private static func places(in route: KubernetesObject) -> [(place: Place, pool: PoolReference)] {
        (route["spec", "rules"]?.array ?? []).enumerated().flatMap { number, rule in
            (rule["backendRefs"]?.array ?? []).enumerated().compactMap { index, backend in
                PoolReference(backend: backend, namespace: route.namespace).map {
                    (Place(rule: number, backend: index), $0)
                }
            }
        }
    }

    /// The pools that a route names.
    static func pools(of route: KubernetesObject) -> Set<PoolReference> { Set(places(in: route).map(\.pool)) }

    /// The pools that a route sends requests to.
    package static func openPools(of route: KubernetesObject) -> Set<PoolReference> {
        // Without a weight it is 1.
        Set(places(in: route).filter { route[$0.place.weight]?.int64 != 0 }.map(\.pool))
    }

    /// Whether a rule is left with no backend that gets requests when those are drained: its gateway answers for it.
    static func leavesRuleEmpty(_ route: KubernetesObject, without pools: Set<PoolReference>) -> Bool {
        (route["spec", "rules"]?.array ?? []).contains { rule in
            let backends = rule["backendRefs"]?.array ?? []
            func isOf(_ backend: JSONValue) -> Bool {
                PoolReference(backend: backend, namespace: route.namespace).map(pools.contains) ?? false
            }
            return backends.contains { isOf($0) && $0["weight"]?.int64 != 0 }
                && backends.allSatisfy { isOf($0) || $0["weight"]?.int64 == 0 }
        }
    }

    private static func rule(_ route: KubernetesObject, _ number: Int) -> (name: String?, matches: String) {
        let rule = route["spec", "rules", .index(number)]
        let matches = (rule?["matches"] ?? .null).serialized(escapingHTML: false)
        return (rule?["name"]?.string, StableHash.hex(matches))
    }

    /// Where a noted backend is now; nil when its rule, or it, is not there any more.
    private func place(
        of noted: Backend, in route: KubernetesObject, _ places: [(place: Place, pool: PoolReference)],
        taken: Set<Place>
    ) -> Place? {
        let free = places.filter { $0.pool == noted.pool && !taken.contains($0.place) }.map(\.place)
        func isOfRule(_ place: Place) -> Bool {
            let rule = Self.rule(route, place.rule)
            if let name = noted.ruleName { return rule.name == name }
            return rule.matches == noted.matches
        }
        let own = free.filter(isOfRule)
        // The rule's own place first, then wherever the rule is by now; a rule whose matches were changed, by its place
        // where none has come or gone: another one in its place may be closed because its user closed it.
        let isOfSameRules = route["spec", "rules"]?.array?.count == noted.rules
        return own.first { $0.rule == noted.rule && $0.backend == noted.backend }
            ?? own.first { $0.rule == noted.rule } ?? own.first
            ?? free.first { place in
                let matches = Self.rule(route, place.rule).matches
                return isOfSameRules && place.rule == noted.rule && place.backend == noted.backend
                    && !backends.contains { $0.rule != noted.rule && $0.matches == matches }
            }
    }

    /// Where all noted backends are now.
    private func places(in route: KubernetesObject) -> [Place?] {
        let all = Self.places(in: route)
        var taken: Set<Place> = []
        return backends.map { noted in
            let place = place(of: noted, in: route, all, taken: taken)
            if let place { taken.insert(place) }
            return place
        }
    }

    // MARK: Draining and opening

    /// Sets the weight of every backend that is one of `pools` to 0, for `holder`. Applied again, it changes nothing. A
    /// weight that is not 0 is what its user wants, also where an earlier one was noted. Throws, and changes nothing, when
    /// something is in the way.
    package static func drain(
        _ route: inout KubernetesObject, _ pools: Set<PoolReference>, holder: String
    ) throws(WorkloadError) {
        var drain = try RouteDrain(of: route) ?? RouteDrain()
        var changed = route
        let known = drain.places(in: route)
        let rules = route["spec", "rules"]?.array?.count ?? 0
        for (place, pool) in places(in: route) where pools.contains(pool) {
            let weight = route[place.weight].flatMap { $0.isNull ? nil : $0 }
            if let index = known.firstIndex(of: place) {
                if !drain.backends[index].holders.contains(holder) { drain.backends[index].holders.append(holder) }
                if weight?.int64 == 0 { continue }
                drain.backends[index].was = weight
            } else {
                // What is 0 already was its user's to close, and is his to open.
                if weight?.int64 == 0 { continue }
                let rule = rule(route, place.rule)
                drain.backends.append(
                    Backend(
                        pool: pool, rule: place.rule, backend: place.backend, rules: rules, ruleName: rule.name,
                        matches: rule.matches, was: weight, holders: [holder]))
            }
            do throws(JSONPathError) {
                try changed.set(0, at: place.weight)
            } catch {
                throw WorkloadError("\(route.label) is malformed: \(error)")
            }
        }
        try drain.write(to: &changed)
        route = changed
    }

    /// Lets go what is 0 for `holder`: puts the weights back that nobody else holds or, when its pods serve, all of its. Who is in
    /// `gone` holds nothing any more. Answers in words what somebody else has changed meanwhile, which stays as it is.
    package static func open(
        _ route: inout KubernetesObject, for holder: String, serves: Bool, gone: Set<String> = []
    ) throws(WorkloadError) -> [String] {
        try open(&route) { noted in
            guard noted.holders.contains(holder) else { return noted.holders }
            let others = noted.holders.filter { $0 != holder && !gone.contains($0) }
            return serves ? [] : others
        }
    }

    /// Puts all weights back: the route as its user wrote it.
    package static func openAll(_ route: inout KubernetesObject) throws(WorkloadError) {
        _ = try open(&route) { _ in [] }
    }

    /// Puts those weights back that have no holder left, by `holders`.
    private static func open(
        _ route: inout KubernetesObject, _ holders: (Backend) -> [String]
    ) throws(WorkloadError) -> [String] {
        guard var drain = try RouteDrain(of: route) else { return [] }
        var changed = route
        var remarks: [String] = []
        let places = drain.places(in: route)
        var kept: [Backend] = []
        for (noted, place) in zip(drain.backends, places) {
            var noted = noted
            noted.holders = holders(noted)
            guard noted.holders.isEmpty else {
                kept.append(noted)
                continue
            }
            guard let place else {
                remarks.append(
                    "\(route.label): the rule \(noted.ruleName ?? "\(noted.rule + 1)") was changed by somebody else while its weight for \(noted.pool) was 0, and stays as it is"
                )
                continue
            }
            guard route[place.weight]?.int64 == 0 else {
                remarks.append(
                    "\(route.label): the weight for \(noted.pool) in rule \(place.rule + 1) was changed by somebody else while it was 0, and stays as it is"
                )
                continue
            }
            guard let was = noted.was else {
                changed.remove(at: place.weight)
                continue
            }
            do throws(JSONPathError) {
                try changed.set(was, at: place.weight)
            } catch {
                throw WorkloadError("\(route.label) is malformed: \(error)")
            }
        }
        drain.backends = kept
        try drain.write(to: &changed)
        route = changed
        return remarks
    }
}
