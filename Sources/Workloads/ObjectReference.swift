/// An object that a workload needs or belongs to.
package struct ObjectReference: Hashable, Sendable {
    /// What it is to the workload.
    package enum Role: Hashable, Sendable {
        /// A volume's claim.
        case claim
        /// Configuration or a secret that its pods read.
        case configuration, secret
        /// The account that its pods run as.
        case account
        /// What it is made from: a training runtime.
        case runtime
        /// The queue that admits it.
        case queue
        /// Devices that its pods ask for.
        case device
        /// The object that manages it.
        case owner
        /// An object that it manages, of a known name.
        case child
    }

    package var kind: ResourceKind
    /// Empty for what is in none.
    package var namespace: String
    package var name: String
    package var role: Role
    /// The workload runs without it.
    package var isOptional = false

    package init(_ kind: ResourceKind, namespace: String, name: String, role: Role, isOptional: Bool = false) {
        self.kind = kind
        self.namespace = kind.isNamespaced ? namespace : ""
        self.name = name
        self.role = role
        self.isOptional = isOptional
    }
}

/// A claim that a workload's pods mount.
package struct ClaimReference: Hashable, Sendable {
    /// Where the claim comes from, which says whether it must be restored.
    package enum Origin: Hashable, Sendable {
        /// Named in a pod's volumes; made by someone else.
        case named
        /// Made by the workload's controller from a template, under a name that comes again: the controller takes a claim
        /// of that name as its own, so it is restored first, with its data.
        case template
        /// Made for a pod and deleted with it; a new pod gets an empty one.
        case ephemeral
    }

    package var name: String
    package var origin: Origin

    package init(_ name: String, _ origin: Origin) {
        self.name = name
        self.origin = origin
    }
}
