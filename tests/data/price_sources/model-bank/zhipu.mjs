//#region src/aiModels/zhipu.ts
const zhipuChatModels = [
	{
		id: "glm-4.7",
		pricing: {
			currency: "CNY",
			units: [
				{
					lookup: {
						prices: {
							"[0, 0.032]_[0, 0.0002]": .4,
							"[0, 0.032]_[0.0002, infinity]": .6,
							"[0.032, 0.2]": .8
						},
						pricingParams: ["textInput", "textOutput"]
					},
					name: "textInput_cacheRead",
					strategy: "lookup",
					unit: "millionTokens"
				},
				{
					lookup: {
						prices: {
							"[0, 0.032]_[0, 0.0002]": 2,
							"[0, 0.032]_[0.0002, infinity]": 3,
							"[0.032, 0.2]": 4
						},
						pricingParams: ["textInput", "textOutput"]
					},
					name: "textInput",
					strategy: "lookup",
					unit: "millionTokens"
				},
				{
					lookup: {
						prices: {
							"[0, 0.032]_[0, 0.0002]": 8,
							"[0, 0.032]_[0.0002, infinity]": 14,
							"[0.032, 0.2]": 16
						},
						pricingParams: ["textInput", "textOutput"]
					},
					name: "textOutput",
					strategy: "lookup",
					unit: "millionTokens"
				}
			]
		},
	},
];
const allModels = [...zhipuChatModels];
//#endregion
export { allModels, allModels as default };
