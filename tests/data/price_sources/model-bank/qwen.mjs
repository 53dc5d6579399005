//#region src/aiModels/qwen.ts
const qwenChatModels = [
	{
		config: { deploymentName: "qwen3-coder-plus" },
		id: "qwen3-coder-plus",
		pricing: {
			currency: "CNY",
			units: [
				{
					lookup: {
						prices: {
							"[0, 0.032]": 4 * .2,
							"[0.032, 0.128]": 6 * .2,
							"[0.128, 0.256]": 10 * .2,
							"[0.256, infinity]": 20 * .2
						},
						pricingParams: ["textInputRange"]
					},
					name: "textInput_cacheRead",
					strategy: "lookup",
					unit: "millionTokens"
				},
				{
					lookup: {
						prices: {
							"[0, 0.032]": 4,
							"[0.032, 0.128]": 6,
							"[0.128, 0.256]": 10,
							"[0.256, infinity]": 20
						},
						pricingParams: ["textInputRange"]
					},
					name: "textInput",
					strategy: "lookup",
					unit: "millionTokens"
				},
				{
					lookup: {
						prices: {
							"[0, 0.032]": 16,
							"[0.032, 0.128]": 24,
							"[0.128, 0.256]": 40,
							"[0.256, infinity]": 200
						},
						pricingParams: ["textInputRange"]
					},
					name: "textOutput",
					strategy: "lookup",
					unit: "millionTokens"
				}
			]
		},
	},
	{
		config: { deploymentName: "qwen-plus" },
		id: "qwen-plus",
		pricing: {
			currency: "CNY",
			units: [
				{
					lookup: {
						prices: {
							"[0, 0.128]": .8 * .2,
							"[0.128, 0.256]": 2.4 * .2,
							"[0.256, infinity]": 4.8 * .2
						},
						pricingParams: ["textInputRange"]
					},
					name: "textInput_cacheRead",
					strategy: "lookup",
					unit: "millionTokens"
				},
				{
					lookup: {
						prices: {
							"[0, 0.128]": .8,
							"[0.128, 0.256]": 2.4,
							"[0.256, infinity]": 4.8
						},
						pricingParams: ["textInputRange"]
					},
					name: "textInput",
					strategy: "lookup",
					unit: "millionTokens"
				},
				{
					lookup: {
						prices: {
							"[0, 0.128]_[false]": 2,
							"[0, 0.128]_[true]": 8,
							"[0.128, 0.256]_[false]": 20,
							"[0.128, 0.256]_[true]": 24,
							"[0.256, infinity]_[false]": 48,
							"[0.256, infinity]_[true]": 64
						},
						pricingParams: ["textInputRange", "thinkingMode"]
					},
					name: "textOutput",
					strategy: "lookup",
					unit: "millionTokens"
				}
			]
		},
	},
	{
		id: "qwen-image-plus",
		pricing: {
			currency: "CNY",
			units: [{
				name: "imageGeneration",
				rate: .2,
				strategy: "fixed",
				unit: "image"
			}]
		},
	},
];
const allModels = [...qwenChatModels];
//#endregion
export { allModels, allModels as default };
