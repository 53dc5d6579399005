//#region src/aiModels/google.ts
const googleChatModels = [
	{
		id: "gemini-2.5-pro",
		pricing: { units: [
			{
				name: "textInput_cacheRead",
				strategy: "tiered",
				tiers: [{
					rate: .31,
					upTo: 2e5
				}, {
					rate: .625,
					upTo: "infinity"
				}],
				unit: "millionTokens"
			},
			{
				name: "textInput",
				strategy: "tiered",
				tiers: [{
					rate: 1.25,
					upTo: 2e5
				}, {
					rate: 2.5,
					upTo: "infinity"
				}],
				unit: "millionTokens"
			},
			{
				name: "imageInput",
				strategy: "tiered",
				tiers: [{
					rate: 1.25,
					upTo: 2e5
				}, {
					rate: 2.5,
					upTo: "infinity"
				}],
				unit: "millionTokens"
			},
			{
				name: "videoInput",
				strategy: "tiered",
				tiers: [{
					rate: 1.25,
					upTo: 2e5
				}, {
					rate: 2.5,
					upTo: "infinity"
				}],
				unit: "millionTokens"
			},
			{
				name: "audioInput",
				strategy: "tiered",
				tiers: [{
					rate: 1.25,
					upTo: 2e5
				}, {
					rate: 2.5,
					upTo: "infinity"
				}],
				unit: "millionTokens"
			},
			{
				name: "textOutput",
				strategy: "tiered",
				tiers: [{
					rate: 10,
					upTo: 2e5
				}, {
					rate: 15,
					upTo: "infinity"
				}],
				unit: "millionTokens"
			},
			{
				lookup: {
					prices: { "1h": 4.5 },
					pricingParams: ["ttl"]
				},
				name: "textInput_cacheWrite",
				strategy: "lookup",
				unit: "millionTokens"
			}
		] },
	},
];
const allModels = [...googleChatModels];
//#endregion
export { allModels, allModels as default };
