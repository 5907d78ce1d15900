internal import FoundationEssentials
internal import GRPCCore
internal import Velero
internal import VeleroProtocol

/// Velero's ItemBlockAction.
struct ItemBlockActionService: V1_ItemBlockAction.SimpleServiceProtocol {
    let actions: [any ItemBlockAction]

    private func action(_ name: String) throws(VeleroError) -> any ItemBlockAction {
        try PluginRegistry.find(name, in: actions) { $0.name }
    }

    func appliesTo(
        request: V1_ItemBlockActionAppliesToRequest, context: ServerContext
    ) async throws -> V1_ItemBlockActionAppliesToResponse {
        try await RPCFailure.mapping(plugin: request.plugin) {
            var response = V1_ItemBlockActionAppliesToResponse()
            response.resourceSelector = Generated_ResourceSelector(try await action(request.plugin).appliesTo())
            return response
        }
    }

    func getRelatedItems(
        request: V1_ItemBlockActionGetRelatedItemsRequest, context: ServerContext
    ) async throws -> V1_ItemBlockActionGetRelatedItemsResponse {
        try await RPCFailure.mapping(plugin: request.plugin) {
            let action = try action(request.plugin)
            guard request.item.count <= ActionItem.maximumBytes else {
                return V1_ItemBlockActionGetRelatedItemsResponse()
            }
            let items = try await action.relatedItems(
                item: request.item.bytes, backup: request.backup.bytes)
            var response = V1_ItemBlockActionGetRelatedItemsResponse()
            response.relatedItems = items.map(Generated_ResourceIdentifier.init)
            return response
        }
    }
}
